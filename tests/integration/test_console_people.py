"""People, roles and sessions in the console, without JavaScript."""

import re
from collections.abc import Generator

import httpx2
import pytest

from auth_server import EMAIL, Auth, Browser, auth_with_bus
from browser import Form
from console import Console, shown

PASSWORD = re.compile(r'data-copy="([A-Za-z0-9_-]{43})"')


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def console(auth: Auth) -> Console:
    return Console(auth)


def added(console: Console, email: str, roles: list[str] | None = None, **fields: str) -> tuple[str, str]:
    """The id of a new person, and their password."""
    page = console.done("/admin/new-person", "/admin/new-person", {"roles": roles or []}, email=email, **fields)
    return re.findall(r'action="/admin/people/(u_[A-Za-z0-9_-]+)"', page)[0], PASSWORD.findall(page)[0]


def signed_in(auth: Auth, email: str, password: str) -> tuple[Browser, httpx2.Response]:
    browser = Browser(auth)
    return browser, browser.submit(Form(browser.get("/apps").text), {"email": email, "password": password})


def test_a_person_is_added_and_can_sign_in_with_the_password_that_is_shown(auth: Auth, console: Console) -> None:
    person, password = added(console, "ann@example.com", ["everything"], attributes="region = north\r\nteam=sales")
    assert signed_in(auth, "ann@example.com", password)[1].status_code == 303
    page = console.get(f"/admin/people/{person}")
    assert password not in page
    assert "region = north\nteam = sales" in page
    assert 'value="everything" checked' in page


def test_what_a_person_may_is_changed_and_they_are_deleted(auth: Auth, console: Console) -> None:
    person, password = added(console, "bob@example.com", ["everything"])
    at = f"/admin/people/{person}"
    page = console.done(at, at, {"roles": [], "disabled": ["yes"]}, action="save", email="robert@example.com")
    assert "Your changes are saved." in page
    assert "robert@example.com" in page
    assert "The account is disabled." in page or "No source is on the bus now." in page
    assert signed_in(auth, "robert@example.com", password)[1].status_code == 403
    page = console.done(at, at, {"disabled": []}, action="save")
    page = console.done(at, at, action="password", password="another long password")
    assert signed_in(auth, "robert@example.com", "another long password")[1].status_code == 303
    assert "It is deleted." in console.done(at, at, action="delete")
    assert console.browser.get(at).status_code == 404


def test_what_is_wrong_is_said_in_one_sentence(console: Console) -> None:
    person, _ = added(console, "carl@example.com")
    at = f"/admin/people/{person}"
    assert console.refused("/admin/new-person", "/admin/new-person", email=EMAIL) == (
        409,
        "Somebody has that e-mail address already.",
    )
    assert console.refused(at, at, action="save", email="nobody")[1] == "That is no e-mail address."
    assert console.refused(at, at, action="password", password="short")[1] == "A password has 12 characters or more."
    said = console.refused(at, at, action="save", attributes="Region = north")[1]
    assert said.startswith("An attribute is a line such as region = north")
    assert (
        console.refused(at, at, action="save", attributes="north")[1]
        == "Attributes: the line &#39;north&#39; has no =."
    )


def test_nobody_changes_their_own_rights_in_the_console(console: Console) -> None:
    page = console.get("/admin/people")
    own = re.findall(rf'/admin/people/(u_[^"]+)">{re.escape(EMAIL)}', page)[0]
    page = console.get(f"/admin/people/{own}")
    assert "This is you" in page
    assert 'name="is_admin"' not in page
    assert 'name="action" value="delete"' not in page
    sent = console.send(f"/admin/people/{own}", f"/admin/people/{own}", action="delete")
    assert sent.status_code == 403


def test_people_are_searched_and_paged(console: Console) -> None:
    added(console, "findme@example.com")
    page = console.get("/admin/people?search=FINDME")
    assert shown(page).startswith('id="content" tabindex="-1"> People Add a person')
    assert "findme@example.com" in page
    assert f">{EMAIL}</a></" not in page
    assert "Nobody has “nobody”" in console.get("/admin/people?search=nobody")


def test_a_role_is_made_grant_by_grant_and_shows_what_it_does_before_it_is_saved(console: Console) -> None:
    person, _ = added(console, "dora@example.com")
    fields = {
        "id": "sales",
        "name": "Sales",
        "grant-0-sources": "db.*",
        "grant-0-objects": "orders\r\ncrm.*",
        "grant-0-rows": "region = {user.region}",
        "grant-0-hidden": "salary",
        "person": person,
    }
    read = {"grant-0-actions": ["read"]}
    form = Form(console.get("/admin/new-role"), at="/admin/new-role")
    body = {**form.fields, **fields, "grant-0-actions": "read"}
    preview = console.browser.http.post("/admin/roles-preview", data=body, headers={"Origin": console.browser.auth.url})
    assert preview.status_code == 200
    assert "They do not have this role yet" in preview.text
    assert console.browser.get("/admin/roles/sales").status_code == 404, "a look saves nothing"

    more = console.send("/admin/new-role", "/admin/new-role", read, **fields, action="add")
    assert more.status_code == 200
    assert 'name="grant-1-sources"' in more.text
    page = console.done("/admin/new-role", "/admin/new-role", read, **fields, action="save")
    assert "It is made." in page
    for kept in ("db.*", "orders\ncrm.*", "region = {user.region}", "salary"):
        assert kept in page

    at = "/admin/roles/sales"
    page = console.send(at, at, action="add").text
    form = Form(page, at=at)
    assert form.fields["grant-0-rows"] == "region = {user.region}"
    page = console.done(at, at, {**read, "grant-1-actions": ["*"]}, action="save", **{"grant-1-sources": "file.docs"})
    assert "file.docs" in page
    page = console.send(at, at, action="drop-0").text
    assert 'name="grant-0-sources"' not in page
    assert 'name="grant-1-sources"' in page
    assert "It is deleted." in console.done(at, at, action="delete")


def test_a_role_that_cannot_be_is_refused_with_what_was_typed(console: Console) -> None:
    at = "/admin/new-role"
    for fields, said in (
        (
            {"id": "Sales!", "name": "Sales"},
            "The id of a role has lower-case letters, digits, _ and -, a letter first.",
        ),
        ({"id": "everything", "name": "Mine"}, "There is a role of that id already."),
        ({"id": "empty", "name": "Empty", "grant-0-sources": ""}, "Grant 1 needs at least one source and one action."),
        ({"id": "nameless"}, "A role needs a name of at most 200 characters."),
        ({"id": "fast", "name": "Fast", "calls_per_minute": "-1"}, "Calls a minute is a number, 0 to 1,000,000"),
    ):
        status, sentence = console.refused(at, at, {"grant-0-actions": ["read"]}, action="save", **fields)
        assert status in (400, 409)
        assert said in sentence
    fixed = console.get("/admin/roles/everything")
    assert 'value="save"' not in fixed
    assert 'name="action" value="delete"' not in fixed


def test_why_somebody_may_not_is_told_on_their_page(console: Console) -> None:
    person, _ = added(console, "eve@example.com")
    page = shown(console.get(f"/admin/people/{person}/explain?source=db.shop&action=read&target=orders"))
    assert "No. The account has no role." in page
    boss, _ = added(console, "boss@example.com", ["everything"])
    page = shown(console.get(f"/admin/people/{boss}/explain?source=db.shop&action=delete&target=orders"))
    assert "Yes. The role everything allows it." in page


def test_a_browser_is_signed_out_by_an_administrator(auth: Auth, console: Console) -> None:
    _, password = added(console, "fay@example.com")
    browser, _ = signed_in(auth, "fay@example.com", password)
    page = console.get("/admin/sessions?search=fay@example.com")
    assert "by password" in page
    session = re.findall(r'name="session" value="([0-9a-f]+)"', page)
    assert len(session) == 1
    page = console.done("/admin/sessions", "/admin/sessions", session=session[0])
    assert "It is ended" in page
    assert browser.http.get("/account").status_code == 303
    assert console.send("/admin/sessions", "/admin/sessions", session="0" * 64).status_code == 404
