"""MCP services in the console, without JavaScript: made, shown once, changed, deleted."""

import re
from collections.abc import Generator

import pytest

from auth_server import REDIRECT, Auth, Browser, auth_with_bus, challenge
from console import Console, shown

SECRET = re.compile(r'data-copy="([A-Za-z0-9_-]{43})"')


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def console(auth: Auth) -> Console:
    return Console(auth)


def made(console: Console, namespace: str, **fields: str) -> tuple[str, str]:
    """The page of a new service, and the secret on it."""
    page = console.done("/admin/new-service", "/admin/new-service", namespace=namespace, **{"label": "Sales", **fields})
    return page, SECRET.findall(page)[0]


def test_a_service_is_made_and_its_secret_is_shown_this_once(auth: Auth, console: Console) -> None:
    page, secret = made(console, "sales", label="Sales data", description="Orders & more")
    assert f"{auth.gateway}/mcp/sales" in page
    client_id = re.findall(r"sales-[A-Za-z0-9_-]+", page)[0]
    got = auth.token({"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret})
    assert got.status_code == 200, got.text
    assert secret not in console.get("/admin/services/sales")
    assert "Orders &amp; more" in console.get("/admin/services/sales")


def test_a_rotated_secret_takes_the_place_of_the_one_before(auth: Auth, console: Console) -> None:
    page, before = made(console, "rotated")
    client_id = re.findall(r"rotated-[A-Za-z0-9_-]+", page)[0]
    page = console.done("/admin/services/rotated", "/admin/services/rotated", action="rotate")
    after = SECRET.findall(page)[0]
    own = {"grant_type": "client_credentials", "client_id": client_id}
    assert auth.token({**own, "client_secret": before}).status_code == 401
    assert auth.token({**own, "client_secret": after}).status_code == 200


@pytest.mark.parametrize(
    ("namespace", "said"),
    [
        ("sales-data", "A namespace has lower-case letters and digits, a letter first, 32 characters at most."),
        ("", "A namespace has lower-case letters and digits, a letter first, 32 characters at most."),
        ("default", "There is an MCP service of that namespace already."),
    ],
)
def test_a_namespace_that_cannot_be_is_refused_with_a_sentence_and_the_form_is_kept(
    console: Console, namespace: str, said: str
) -> None:
    refused = console.send("/admin/new-service", "/admin/new-service", namespace=namespace, label="Kept <label>")
    assert refused.status_code in (400, 409)
    assert said in refused.text
    assert "Kept &lt;label&gt;" in refused.text


def test_what_is_typed_as_a_namespace_is_judged_while_somebody_types(auth: Auth, console: Console) -> None:
    def said(namespace: str) -> str:
        return re.sub(r"<[^>]*>", "", console.get(f"/admin/new-service/check?namespace={namespace}")).strip()

    assert said("free1") == f"It is free. The endpoint will be {auth.gateway}/mcp/free1"
    assert said("default") == "There is an MCP service of that namespace already."
    assert said("Sales").startswith("Lower-case letters and digits, a letter first")


def test_the_advanced_settings_are_kept_and_changed(console: Console) -> None:
    made(
        console,
        "advanced",
        redirect_uris="https://app.example/callback\r\nhttps://app.example/other",
        sources="db.*\r\nfile.reports",
        access_lifetime="600",
        login_url="https://login.example/",
    )
    settings = "/admin/services/advanced/settings"
    page = console.get(settings)
    for kept in ("https://app.example/other", "db.*\nfile.reports", 'value="600"', "https://login.example/"):
        assert kept in page
    page = console.done(
        settings,
        "/admin/services/advanced",
        {"scopes": ["data:read"], "roles": ["everything"]},
        label="Another",
        sources="db.shop",
        login_url="",
        action="save",
    )
    assert "Your changes are saved." in page
    assert 'name="scopes" value="data:read" checked' in page
    assert 'name="roles" value="everything" checked' in page
    assert "https://login.example/" not in page


def test_a_change_that_is_refused_says_why_and_changes_nothing(console: Console) -> None:
    made(console, "kept")
    settings, at = "/admin/services/kept/settings", "/admin/services/kept"
    for fields, said in (
        ({"redirect_uris": "http://evil.example/callback"}, "http"),
        ({"access_lifetime": "5"}, "An access token is valid for 60 seconds to a day."),
        ({"label": ""}, "Label must not be empty."),
        ({"sources": ""}, "Sources must not be empty."),
    ):
        status, sentence = console.refused(settings, at, **{"action": "save", **fields})
        assert status == 400
        assert said in sentence
    assert 'value="3600"' in console.get(settings)


def test_a_service_is_deleted_and_the_default_one_offers_no_deletion(console: Console) -> None:
    made(console, "gone")
    page = console.done("/admin/services/gone/settings", "/admin/services/gone", action="delete")
    assert "It is deleted." in page
    assert "/admin/services/gone" not in page
    assert 'value="delete"' not in console.get("/admin/services/default/settings")


def test_services_are_searched(console: Console) -> None:
    made(console, "needle", description="In a haystack")
    page = console.get("/admin/services?search=HAYSTACK")
    assert "/admin/services/needle" in page
    assert "/admin/services/default" not in page
    assert "No service has “nowhere”" in console.get("/admin/services?search=nowhere")


def test_an_app_that_came_is_told_from_others_and_the_line_says_who_let_it_in(auth: Auth, console: Console) -> None:
    assert shown(console.get("/admin/services/default")).count("not yet") == 7
    browser = Browser(auth)
    for name, redirect in (("Claude Code (isthmus)", "http://localhost:4711/callback"), ("Some app", REDIRECT)):
        client = auth.register(client_name=name, redirect_uris=[redirect])
        request = auth.request(client_id=client["client_id"], redirect_uri=redirect, code_challenge=challenge())
        code = browser.allow(request)["code"]
        before = console.get("/admin/services/default/connected")
        assert auth.exchange(code, client_id=client["client_id"], client_secret="", redirect_uri=redirect).is_success
        after = console.get("/admin/services/default/connected")
        assert after.count("✓ connected by admin@example.com") == before.count("✓ connected") + 1
    lines = dict(re.findall(r'id="connected-([a-z-]+)" class="badge( good)?"', after))
    assert [app for app, good in lines.items() if good] == ["claude-code", "vscode"]


def test_the_api_docs_give_commands_with_the_values_of_the_service(auth: Auth, console: Console) -> None:
    page = shown(console.get("/admin/services/default/docs"))
    assert f"curl {auth.url}/mcp-services/default" in page
    assert f"curl -s {auth.gateway}/mcp -H" in page
    assert "2026-07-28" in page


def test_a_page_of_a_service_that_is_not_there_is_a_page_that_says_so(auth: Auth, console: Console) -> None:
    answer = console.browser.get("/admin/services/nothere")
    assert answer.status_code == 404
    assert "There is no MCP service of that namespace." in answer.text
