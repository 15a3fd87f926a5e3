"""Values of every kind, to the database and back."""

from typing import Any, cast

import msgspec

from databases import DIALECTS, Shop
from isthmus_db_worker.rows import BUDGET

pytest_plugins = ["database_fixtures"]

TYPES: list[tuple[str, Any, Any]] = [
    ("smallint", 7, 7),
    ("bigint", 2**53, 2**53),
    ("bigint", 2**53 + 1, "9007199254740993"),
    ("bigint", "9007199254740993", "9007199254740993"),
    ("bigint", -(2**63), "-9223372036854775808"),
    ("numeric(12, 4)", "1.5", "1.5000"),
    ("numeric", "123456789012345678901234567890.123", "123456789012345678901234567890.123"),
    ("numeric", 0.1, "0.1"),
    ("numeric", "NaN", "NaN"),
    ("real", 0.1, 0.1),
    ("double precision", 1.5, 1.5),
    ("double precision", "NaN", "NaN"),
    ("double precision", "-Infinity", "-Infinity"),
    ("boolean", False, False),
    ("text", 'it\'s \\ "quoted"\nü☃', 'it\'s \\ "quoted"\nü☃'),
    ("varchar(3)", "abc", "abc"),
    ("date", "2024-02-29", "2024-02-29"),
    ("timestamp", "2024-02-29T12:00:00.5", "2024-02-29T12:00:00.500000"),
    ("timestamp", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00"),
    ("timestamptz", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00+00:00"),
    ("timestamptz", "2024-02-29T12:00:00", "2024-02-29T12:00:00+00:00"),
    ("time", "12:30:00", "12:30:00"),
    ("interval", "P1Y2M3DT4H", "P1Y2M3DT4H"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "AAH/", "AAH/"),
    ("jsonb", {"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
    ("json", [1, 2.5], [1, 2.5]),
    ("integer[]", [1, None, 3], [1, None, 3]),
    ("text[]", ["a", "b,c"], ["a", "b,c"]),
    ("inet", "10.0.0.1", "10.0.0.1"),
    ("int4range", "[1,5)", "[1,5)"),
    ("mood", "glad", "glad"),
    ("score", 3, 3),
    ("char(3)", "ab", "ab "),
    ("money", "12.34", "12.34"),
    ("bit(3)", "101", "101"),
    ("tsvector", "a b", "'a' 'b'"),
]


async def test_values_of_all_types_go_to_postgresql_and_come_back(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.execute("create type mood as enum ('glad', 'sad');\n create domain score as integer check (value < 10)")
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _, _) in enumerate(TYPES))
    shop.execute(f"create table kinds (id integer primary key, {columns})")
    record = {f"c{place}": value for place, (_, value, _) in enumerate(TYPES)}
    created = await shop.call("create_records", table="kinds", records=[{"id": 1, **record}, {"id": 2}])
    assert created.value["ids"] == [1, 2]
    full, empty = await shop.query(table="kinds")
    got = [(kind, value) for (kind, _, _), value in zip(TYPES, full[1:], strict=True)]
    assert got == [(kind, wanted) for kind, _, wanted in TYPES]
    assert empty == [2] + [None] * len(TYPES)


FILTERS: list[tuple[str, str]] = [
    ("smallint", "= 7"),
    ("bigint", "= 9007199254740992"),
    ("numeric(12, 4)", "= 1.5"),
    ("real", "< 0.2"),
    ("boolean", "= false"),
    ("date", "= '2024-02-29'"),
    ("timestamp", ">= '2024-02-29'"),
    ("timestamptz", "= '2024-02-29T10:00:00Z'"),
    ("time", "< '13:00:00'"),
    ("interval", "> 'P1Y'"),
    ("uuid", "= 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    ("bytea", "= 'AAH/'"),
    ("inet", "= '10.0.0.1'"),
    ("int4range", "= '[1,4]'"),
    ("mood", "in ('glad', 'sad')"),
    ("mood", "like 'gl%'"),
    ("score", "between 1 and 5"),
    ("varchar(3)", "in ('abc', 'abcd')"),
    ("char(3)", "= 'ab'"),
    ("jsonb", "is not null"),
]


async def test_columns_of_all_types_can_be_filtered_and_sorted_by(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.execute("create type mood as enum ('glad', 'sad');\n create domain score as integer check (value < 10)")
    values = {kind: value for kind, value, _ in reversed(TYPES)}
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _) in enumerate(FILTERS))
    shop.execute(f"create table kinds (id integer primary key, {columns})")
    record = {f"c{place}": values[kind] for place, (kind, _) in enumerate(FILTERS)}
    await shop.call("create_records", table="kinds", records=[{"id": 1, **record}, {"id": 2}, {"id": 3, **record}])
    for place, (kind, condition) in enumerate(FILTERS):
        rows = await shop.query(table="kinds", columns=["id"], filter=f"c{place} {condition}")
        assert rows == [[1], [3]], (kind, condition)
        order = [f"c{place}"]
        page = await shop.call("query_table", table="kinds", columns=["id"], order_by=order, limit=1)
        if kind == "jsonb":
            assert page.error == "invalid_arguments"
            continue
        seen = page.rows
        while cursor := page.value["next_cursor"]:
            page = await shop.call("query_table", table="kinds", columns=["id"], order_by=order, limit=1, cursor=cursor)
            seen = seen + page.rows
        assert seen == [[1], [3], [2]], kind


async def test_an_enumeration_names_its_values_when_there_is_no_such_one(postgresql_shop: Shop) -> None:
    postgresql_shop.execute("create type mood as enum ('glad', 'sad');\n create table moods (mood mood)")
    outcome = await postgresql_shop.call("query_table", table="moods", filter="mood = 'happy'")
    assert outcome.text == "mood is compared with one of glad, sad."


async def test_the_type_of_an_enumeration_and_of_a_domain_is_its_name(postgresql_shop: Shop) -> None:
    postgresql_shop.execute("create type mood as enum ('glad');\n create domain score as integer")
    postgresql_shop.execute("create table moods (mood mood, score score, place point)")
    described = (await postgresql_shop.call("describe_table", table="moods")).value
    assert [column["type"] for column in described["columns"]] == ["mood", "score", "POINT"]


async def test_money_is_a_decimal_whatever_the_locale_that_sorts_and_filters(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.execute("create table prizes (id integer primary key, prize money)")
    records = [{"id": 1, "prize": "1234.50"}, {"id": 2, "prize": "-0.05"}, {"id": 3, "prize": None}]
    await shop.call("create_records", table="prizes", records=records)
    prizes = await shop.query(table="prizes", columns=["prize"], order_by=["prize"], distinct=True)
    assert prizes == [["-0.05"], ["1234.50"], [None]]
    assert await shop.query(table="prizes", columns=["id"], filter="prize > 1000 and prize = '1234.50'") == [[1]]
    first = await shop.call("query_table", table="prizes", columns=["id"], order_by=["-prize nulls last"], limit=1)
    rest = await shop.query(
        table="prizes", columns=["id"], order_by=["-prize nulls last"], cursor=first.value["next_cursor"]
    )
    assert first.rows + rest == [[1], [2], [3]]


async def test_numbers_in_json_keep_every_digit(shop: Shop) -> None:
    shop.execute("create table documents (id integer primary key, document json)")
    text = '{"a": 0.12345678901234567890,  "b": [9007199254740993]}'
    shop.execute("insert into documents values (1, :text)", text=text)
    outcome = await shop.call("query_table", table="documents")
    assert '{"a":0.12345678901234567890,"b":[9007199254740993]}' in outcome.text
    assert b'{"a":0.12345678901234567890,"b":[9007199254740993]}' in bytes(outcome.result.structured_content)  # pyright: ignore[reportArgumentType]


async def test_half_a_surrogate_pair_in_json_is_shown_as_unreadable(postgresql_shop: Shop) -> None:
    postgresql_shop.execute("create table documents (document json)")
    postgresql_shop.execute("insert into documents values (:text)", text='["\\ud83d\\ude00", "\\ud83d"]')
    assert await postgresql_shop.query(table="documents") == [[["😀", "\ufffd"]]]


async def test_dates_beyond_python_stay_as_the_database_writes_them(postgresql_shop: Shop) -> None:
    postgresql_shop.execute(
        "create table times (a date primary key, b timestamp, c timestamptz);\n"
        "insert into times values ('infinity', '-infinity', 'infinity'), ('0044-03-15 BC', '20000-01-01', null)"
    )
    first = await postgresql_shop.call("query_table", table="times", limit=1)
    assert first.rows == [["0044-03-15 BC", "20000-01-01 00:00:00", None]]
    rest = await postgresql_shop.query(table="times", cursor=first.value["next_cursor"])
    assert rest == [["infinity", "-infinity", "infinity"]]


async def test_sqlite_gives_what_is_stored_whatever_the_declared_type(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    shop.execute(
        "create table loose (id integer primary key, n numeric(10, 2), i integer, b boolean, d date, t datetime, "
        "j json, x blob, anything)"
    )
    shop.execute("insert into loose values (1, 0.1, 9007199254740993, 1, '2024-01-01', '2024-01-01 10:00:00', "
                 "'{\"a\"\\:1}', x'0001ff', 'text')")  # fmt: skip
    shop.execute("insert into loose values (2, 'many', 'few', 'maybe', 'soon', 1704103200, '{', 'text', 1.5)")
    assert await shop.query(table="loose") == [
        [1, "0.1", "9007199254740993", True, "2024-01-01", "2024-01-01 10:00:00", {"a": 1}, "AAH/", "text"],
        [2, "many", "few", "maybe", "soon", 1704103200, "{", "text", 1.5],
    ]
    for text in ("n = 0.1", "i = 9007199254740993", "b", "d < '2024-02-01'", "t = '2024-01-01T10:00:00'"):
        assert [1] in await shop.query(table="loose", columns=["id"], filter=text), text
    records = [{"n": "2.50", "b": False, "t": "2024-05-05T10:00:00", "j": {"b": [1]}, "x": "AAH/"}]
    assert (await shop.call("create_records", table="loose", records=records)).value["ids"] == [3]
    assert (await shop.query(table="loose", filter="id = 3"))[0][1:] == [
        "2.5", None, False, None, "2024-05-05 10:00:00", {"b": [1]}, "AAH/", None,
    ]  # fmt: skip


MARIADB_TYPES: list[tuple[str, Any, Any]] = [
    ("tinyint", 7, 7),
    ("tinyint(1)", True, True),
    ("bool", False, False),
    ("bigint", -(2**63), "-9223372036854775808"),
    ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
    ("decimal(12, 4)", "1.5", "1.5000"),
    ("decimal(40, 3)", "123456789012345678901234567890.123", "123456789012345678901234567890.123"),
    ("float", 0.1, 0.1),
    ("float", 16777216, 16777216.0),
    ("double", 0.1, 0.1),
    ("bit(1)", True, True),
    ("bit(5)", 9, 9),
    ("year", 2024, 2024),
    ("text", 'it\'s \\ "quoted"\nü☃😀 %s', 'it\'s \\ "quoted"\nü☃😀 %s'),
    ("date", "2024-02-29", "2024-02-29"),
    ("datetime(6)", "2024-02-29T12:00:00.5", "2024-02-29T12:00:00.500000"),
    ("datetime", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00"),
    ("timestamp null", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00+00:00"),
    ("time", "12:30:00", "12:30:00"),
    ("time(3)", "-100:00:00.5", "-100:00:00.500"),
    ("enum('z', 'a', 'm')", "a", "a"),
    ("set('x', 'y', 'z')", ["y", "x"], ["x", "y"]),
    ("json", {"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
    ("blob", "AAH/", "AAH/"),
    ("varbinary(9)", "AAH/", "AAH/"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
]


async def test_values_of_all_types_go_to_mariadb_and_come_back_and_are_found(mariadb_shop: Shop) -> None:
    shop = mariadb_shop
    columns = ", ".join(f"c{place} {kind}" for place, (kind, _, _) in enumerate(MARIADB_TYPES))
    shop.execute(f"create table kinds (id integer primary key, {columns})")
    record = {f"c{place}": value for place, (_, value, _) in enumerate(MARIADB_TYPES)}
    records = [{"id": 1, **record}, {"id": 2}, {"id": 3, **record}]
    assert (await shop.call("create_records", table="kinds", records=records)).value["ids"] == [1, 2, 3]
    full, empty, _ = await shop.query(table="kinds")
    got = [(kind, value) for (kind, _, _), value in zip(MARIADB_TYPES, full[1:], strict=True)]
    assert got == [(kind, wanted) for kind, _, wanted in MARIADB_TYPES]
    assert empty == [2] + [None] * len(MARIADB_TYPES)
    for place, (kind, _, value) in enumerate(MARIADB_TYPES):
        if kind == "json" or kind == "text":
            continue
        words = ",".join(map(str, cast("list[str]", value))) if isinstance(value, list) else value
        literal = str(words).lower() if isinstance(words, bool) else words if isinstance(words, int) else f"'{words}'"
        rows = await shop.query(table="kinds", columns=["id"], filter=f"c{place} = {literal}")
        assert rows == [[1], [3]], kind
        seen: list[list[Any]] = []
        cursor = ""
        while len(seen) < 4:
            page = await shop.call(
                "query_table", table="kinds", columns=["id"], order_by=[f"-c{place}"], limit=1, cursor=cursor
            )
            seen = seen + page.rows
            if not (cursor := page.value["next_cursor"]):
                break
        assert seen == [[1], [3], [2]], kind


async def test_words_of_an_enumeration_are_sorted_and_paged_as_text(mariadb_shop: Shop) -> None:
    mariadb_shop.execute("create table moods (id integer primary key, mood enum('z', 'a', 'm'))")
    mariadb_shop.execute("insert into moods values (1, 'z'), (2, 'a'), (3, 'm')")
    first = await mariadb_shop.call("query_table", table="moods", columns=["id"], order_by=["mood"], limit=1)
    rest = await mariadb_shop.query(table="moods", columns=["id"], order_by=["mood"], cursor=first.value["next_cursor"])
    assert first.rows + rest == [[2], [3], [1]]
    outcome = await mariadb_shop.call("query_table", table="moods", filter="mood = 'b'")
    assert outcome.text == "mood is compared with one of z, a, m."


async def test_mariadb_shows_incomplete_dates_and_finds_them(mariadb_shop: Shop) -> None:
    mariadb_shop.execute("set sql_mode = '';\n create table days (id integer primary key, d date, t datetime)")
    mariadb_shop.execute("set sql_mode = '';\n insert into days values (1, '0000-00-00', '2024-00-00 00:00:00')")
    mariadb_shop.execute("insert into days values (2, '2024-01-01', null)")
    assert await mariadb_shop.query(table="days") == [
        [1, "0000-00-00", "2024-00-00 00:00:00"],
        [2, "2024-01-01", None],
    ]
    assert await mariadb_shop.query(table="days", columns=["id"], filter="d = '0000-00-00'") == [[1]]
    assert await mariadb_shop.query(table="days", columns=["id"], filter="t < '2024-01-00'") == [[1]]


async def test_generated_columns_are_shown_and_not_written(shop: Shop) -> None:
    shop.execute("create table squares (id integer primary key, n integer, "
                 "square integer generated always as (n * n) stored)")  # fmt: skip
    await shop.call("create_records", table="squares", records=[{"id": 1, "n": 3}])
    assert await shop.query(table="squares", filter="square = 9") == [[1, 3, 9]]
    refused = await shop.call("update_records", table="squares", values={"square": 1}, ids=[1])
    assert refused.text == "values: square is generated by the database and cannot be written."


async def test_sqlite_refuses_numbers_that_it_would_change(sqlite_shop: Shop) -> None:
    sqlite_shop.execute("create table numbers (id integer primary key, d decimal(30, 2), r real)")
    for record, noun in [
        ({"d": "12345678901234567.89"}, "d takes a number such as 12.50, of at most 15 digits."),
        ({"d": "NaN"}, "d takes a number such as 12.50, of at most 15 digits."),
        ({"r": "NaN"}, "r takes a number such as 1.5."),
        ({"r": "1e999"}, "r takes a number such as 1.5."),
    ]:
        refused = await sqlite_shop.call("create_records", table="numbers", records=[record])
        assert refused.text == f"records[0]: {noun}"


async def test_sqlite_shows_text_that_is_not_utf_8_as_far_as_it_can_be_read(sqlite_shop: Shop) -> None:
    sqlite_shop.execute("create table words (id integer primary key, word text)")
    sqlite_shop.execute("insert into words values (1, 'good'), (2, cast(x'636166e9' as text)), (3, 'café')")
    assert await sqlite_shop.query(table="words", columns=["word"]) == [["good"], ["caf\ufffd"], ["café"]]


async def test_a_value_that_is_too_large_for_an_answer_is_cut_and_more_of_it_shows_alone(shop: Shop) -> None:
    shop.execute(f"create table books (id integer primary key, title {DIALECTS[shop.engine]['long']}, body "
                 f"{DIALECTS[shop.engine]['long']})")  # fmt: skip
    shop.execute("insert into books values (1, :title, :body)", title="é" * 100_000, body="x" * 1_000_000)
    shop.execute("insert into books values (2, 'short', null)")
    outcome = await shop.call("query_table", table="books")
    ((number, title, body),) = outcome.rows
    assert (number, title[-1], body[-1]) == (1, "…", "…")
    assert title.startswith("é" * 30_000)
    assert body.startswith("x" * 30_000)
    assert outcome.value["shortened"] == {"title": 100_000, "body": 1_000_000}
    assert outcome.value["reason"] == "bytes"
    assert outcome.text.endswith(
        "title has 100,000 characters, body has 1,000,000 characters; with fewer columns more fits)"
    )
    assert len(msgspec.json.encode(outcome.result)) < BUDGET
    rest = await shop.call("query_table", table="books", cursor=outcome.value["next_cursor"])
    assert rest.rows == [[2, "short", None]]
    assert "shortened" not in rest.value
    alone = await shop.call("query_table", table="books", columns=["body"], ids=[1])
    assert len(alone.rows[0][0]) > 100_000
    assert alone.text.endswith("body has 1,000,000 characters; with fewer columns more fits)")


async def test_odd_names_are_no_trouble(shop: Shop) -> None:
    shop.execute('create table "Odd Table" ("select" integer primary key, "a b" text, "per%cent" integer, "Ä(x)" text)')
    created = await shop.call(
        "create_records", table="Odd Table", records=[{"select": 1, "a b": "x", "per%cent": 5, "Ä(x)": "y"}]
    )
    assert created.value["ids"] == [1]
    text = 'select = 1 and "a b" = \'x\' and "per%cent" = 5 and "Ä(x)" = \'y\''
    assert await shop.query(table="Odd Table", filter=text, order_by=["-per%cent"]) == [[1, "x", 5, "y"]]
    values = {"per%cent": 6}
    assert (await shop.call("update_records", table="Odd Table", values=values, filter=text)).value == {"updated": 1}
