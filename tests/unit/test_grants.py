"""Grants: globs, adding up, and what stays closed."""

from isthmus.grants import EVERYTHING, Access, Grant, Granted, matches


def test_one_star_stays_in_its_folder_and_two_stars_cross_folders() -> None:
    assert matches("public/*", "public/a.txt")
    assert not matches("public/*", "public/deep/a.txt")
    assert matches("public/**", "public/deep/a.txt")
    assert matches("**/*.csv", "a.csv")
    assert matches("**/*.csv", "deep/er/a.csv")


def test_characters_that_mean_something_in_regular_expressions_mean_themselves() -> None:
    assert matches("a.b", "a.b")
    assert not matches("a.b", "axb")
    assert not matches("a", "a\n")


def test_the_built_in_grant_allows_everything() -> None:
    granted = Granted.of([EVERYTHING])
    assert granted.access("delete", "crm.orders") == Access()
    assert granted.access("read", "any/path.txt") == Access()


def test_without_a_grant_nothing_is_allowed() -> None:
    assert Granted.of([]).access("read", "orders") is None
    assert not Granted.of([]).allows("read")


def test_rows_add_up_and_a_grant_for_all_rows_wins() -> None:
    mine = Grant(("db.*",), ("read",), ("orders",), rows="owner = {user.id}")
    open_ = Grant(("db.*",), ("read",), ("orders",), rows="status = 'open'")
    every = Grant(("db.*",), ("read",), ("*",))
    both = Granted.of([mine, open_]).access("read", "orders")
    assert both is not None
    assert both.rows == ("owner = {user.id}", "status = 'open'")
    assert Granted.of([mine, every]).access("read", "orders") == Access()


def test_a_column_that_one_grant_hides_stays_hidden() -> None:
    staff = Grant(("db.*",), ("read",), hidden=("employees.salary",), rows="id = {user.id}")
    every = Grant(("db.*",), ("read",))
    access = Granted.of([staff, every]).access("read", "employees")
    assert access is not None
    assert access.hides("employees", "salary")
    assert not access.hides("orders", "salary")


def test_a_folder_shows_when_something_below_it_may_be_read() -> None:
    granted = Granted.of([Grant(("file.*",), ("read",), ("public/reports/**",))])
    assert granted.reaches_into("read", "")
    assert granted.reaches_into("read", "public")
    assert granted.reaches_into("read", "public/reports/2026")
    assert not granted.reaches_into("read", "private")
    assert not granted.reaches_into("update", "public")


def test_equal_grants_have_equal_digests() -> None:
    assert Granted.of([EVERYTHING]).digest == Granted.of([EVERYTHING]).digest
    assert Granted.of([EVERYTHING]).digest != Granted.of([]).digest


def test_who_is_granted_a_part_has_nothing_of_the_whole() -> None:
    whole = Grant(("git.*",), ("use",))
    parts = [
        Grant(("git.*",), ("use",), ("docs/**",)),
        Grant(("git.*",), ("use",), ("*",)),
        Grant(("git.*",), ("use",), rows="author = {user.id}"),
    ]
    assert Granted.of(parts).whole().grants == ()
    assert Granted.of([*parts, whole]).whole().grants == (whole,)
    for closing in (Grant(("git.*",), ("use",), hidden=("author",)), Grant(("git.*",), ("use",), masked=("author",))):
        assert Granted.of([whole, closing]).whole().grants == ()
    assert Granted.of([EVERYTHING]).whole().grants == (EVERYTHING,)
