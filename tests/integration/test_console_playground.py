"""The playground: tools called in the browser, in one's own name, with short tokens that nobody else sees."""

import base64
import re
import time
from collections.abc import Generator
from html import unescape
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

import httpx2
import msgspec
import pytest
from sqlalchemy.orm import Session

from administrator import Administrator
from auth_server import claims
from browser import Form
from console_stack import PUBLIC, ConsoleStack, console_stack
from isthmus.errors import ConfigurationError
from isthmus.results import AudioContent, ImageContent, ResourceLink, TextContent
from isthmus.worker import Call, Result, Source, Worker
from isthmus_auth import gateway_client
from isthmus_auth.database import migrate, open_engine
from isthmus_auth.seed import seed
from isthmus_auth.settings import AuthSettings
from servers import TLS

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCRIPT = "<script>alert('x')</script><img src=x onerror=alert(1)>"


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""

    toy: str | None = None
    """The toy."""


class Colour(msgspec.Struct):
    """What a tool asks for."""

    colour: Literal["red", "green"]
    """Which colour."""
    pieces: int


class Said(msgspec.Struct):
    """What came of it."""

    said: str
    parts: list[dict[str, Any]] = []

    def text(self) -> str:
        return self.said


SMASHED: list[str] = []


def toys() -> Worker[list[str]]:
    """A worker of a kind of its own, whose tools answer with everything that there is."""
    worker = Worker[list[str]]("toy", argument="toy")

    @worker.tool(scope="toy:use", action="use", read_only=True)
    async def show_all(call: Call[list[str]], arguments: Nothing) -> Result[Said]:
        """Shows an image, a sound, a link and a script."""
        link = ResourceLink(uri="toy://box/1", name="The box")
        content = (
            TextContent(SCRIPT),
            ImageContent.of(PIXEL, "image/png"),
            AudioContent.of(b"RIFF", "audio/wav"),
            link,
        )
        return Result(structured=Said(SCRIPT, [{"name": "ball", "size": 3}, {"name": "kite"}]), content=content)

    @worker.tool(scope="toy:use", action="use")
    async def paint(call: Call[list[str]], arguments: Nothing) -> Said:
        """Paints it in a colour that it asks for."""
        wanted = call.elicit("colour", "Which <b>colour</b>?", Colour)
        return Said(f"{wanted.pieces} painted {wanted.colour}" if wanted else "not painted")

    @worker.tool(scope="toy:use", action="use", destructive=True)
    async def smash(call: Call[list[str]], arguments: Nothing) -> Said:
        """Breaks it."""
        call.source.handle.append("smashed")
        return Said("It is broken.")

    worker.add(Source("box", SMASHED, engine="toy", target="toy:box", title="Toy box", writable=True))
    return worker


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[ConsoleStack]:
    with console_stack(tmp_path_factory.mktemp("console"), toys()) as running:
        yield running


def shown(page: httpx2.Response) -> str:
    """The text of the page's content, as somebody reads it."""
    content = page.text.partition('id="content"')[2]
    return unescape(re.sub(r"<[^>]+>", " ", content))


def open_form(stack: ConsoleStack, **query: str) -> Form:
    """The form of a tool."""
    page = stack.admin.browser.http.get("/admin/playground", params=query)
    assert page.status_code == 200, shown(page)
    return Form(page.text, at="/admin/playground#answer")


def sent(stack: ConsoleStack, form: Form, **fields: str) -> httpx2.Response:
    return stack.admin.browser.submit(form, {name.replace("__", "."): text for name, text in fields.items()})


def test_tools_are_listed_by_kind_with_what_they_do_and_found_by_their_words(stack: ConsoleStack) -> None:
    page = stack.admin.browser.get("/admin/playground")
    text = shown(page)
    assert all(heading in text for heading in ("Databases", "Files", "toy", "All sources"))
    assert re.search(r"query_table\s+reads", text)
    assert re.search(r"create_records\s+writes", text)
    assert re.search(r"delete_file\s+destructive", text)
    found = shown(stack.admin.browser.get("/admin/playground?search=PDF"))
    assert "read_file" in found
    assert "query_table" not in found


def test_a_form_calls_the_tool_and_the_answer_is_what_a_model_sees(stack: ConsoleStack) -> None:
    page = sent(stack, open_form(stack, tool="query_table"), t__table="categories", i__limit="2")
    assert page.status_code == 200
    text = shown(page)
    assert "answered" in text
    assert re.search(r"[\d,]+ bytes", text)
    assert re.search(r"about [\d,]+ tokens", text)
    assert "id\tname" in text
    assert page.text.count("<tr>") == 3  # the header and two rows of structured content


def test_the_same_request_from_a_terminal_holds_no_token_and_does_the_same(stack: ConsoleStack) -> None:
    page = sent(stack, open_form(stack, tool="list_tables"), t__query="order")
    command = shown(page).partition("curl -sS ")[2].partition("Copy")[0]
    assert f"{PUBLIC}/mcp" in command
    assert '"Authorization: Bearer $TOKEN"' in command
    headers = dict(re.findall(r"-H '([^:']+): ([^']+)'", command))
    body = command.partition("--data '")[2].rpartition("'")[0]
    headers |= {"Authorization": f"Bearer {stack.front.tokens[-1]}", "Host": PUBLIC.removeprefix("http://")}
    answer = httpx2.post(f"{stack.gateway}/mcp", content=body, headers=headers, verify=TLS)
    assert "order_items" in answer.text


def test_a_link_fills_the_form_in_and_raw_json_does_as_well(stack: ConsoleStack) -> None:
    form = open_form(stack, tool="query_table", arguments='{"table":"orders","order_by":["-id","note"],"ids":[1]}')
    assert form.fields["t.table"] == "orders"
    assert form.fields["l.order_by"] == "-id\nnote"
    assert form.fields["j.ids"] == "[\n  1\n]"
    assert form.fields["c.database"] == ""  # there is one, so it may be left out
    raw = open_form(stack, tool="query_table", way="json")
    page = sent(stack, raw, arguments='{"database": "shop", "table": "categories", "limit": 1}')
    assert "answered" in shown(page)
    wrong = sent(stack, raw, arguments='{"database": ')
    assert wrong.status_code == 400
    assert "not valid JSON" in shown(wrong)
    assert '{"database": ' in Form(wrong.text, at="/admin/playground#answer").fields["arguments"]


def test_what_cannot_be_meant_is_said_at_its_field_and_kept(stack: ConsoleStack) -> None:
    page = sent(stack, open_form(stack, tool="query_table"), t__filter="id = 7", i__limit="many")
    assert page.status_code == 400
    assert "Write a whole number." in shown(page)
    assert "Fill this in." in shown(page)
    kept = Form(page.text, at="/admin/playground#answer").fields
    assert (kept["t.filter"], kept["i.limit"]) == ("id = 7", "many")


def test_an_error_of_the_tool_is_plain_to_see(stack: ConsoleStack) -> None:
    text = shown(sent(stack, open_form(stack, tool="query_table"), t__table="nothing"))
    assert "isError: not_found" in text
    assert "There is no table nothing in shop." in text


def test_images_sounds_and_links_are_shown_and_a_script_is_text(stack: ConsoleStack) -> None:
    page = sent(stack, open_form(stack, tool="show_all"))
    assert f'src="data:image/png;base64,{base64.b64encode(PIXEL).decode()}"' in page.text
    assert 'src="data:audio/wav;base64,' in page.text
    assert "toy://box/1" in page.text
    assert SCRIPT not in page.text
    assert SCRIPT in shown(page)
    assert '<th scope="col">size</th>' in page.text
    policy = page.headers["content-security-policy"]
    assert "img-src 'self' data:" in policy
    assert "media-src data:" in policy
    elsewhere = stack.admin.browser.get("/admin/services").headers["content-security-policy"]
    assert "data:" not in elsewhere


def test_a_tool_that_asks_gets_its_answer_in_the_browser(stack: ConsoleStack) -> None:
    asked = sent(stack, open_form(stack, tool="paint"))
    assert "Which <b>colour</b>?" in shown(asked)
    assert "<b>colour" not in asked.text
    form = Form(asked.text, action="accept")
    assert form.fields["q0.c.colour"] == ""
    again = sent(stack, form, action="accept", q0__c__colour='"green"')
    assert "Fill this in." in shown(again)
    painted = sent(stack, Form(again.text, action="accept"), action="accept", q0__i__pieces="3")
    assert "3 painted green" in shown(painted)
    assert "not painted" in shown(sent(stack, form, action="decline"))


def test_a_state_that_is_not_the_gateways_own_is_refused(stack: ConsoleStack) -> None:
    form = Form(sent(stack, open_form(stack, tool="paint")).text, action="accept")
    forged = {"action": "accept", "q0__c__colour": '"red"', "q0__i__pieces": "1", "request_state": "e30"}
    refused = sent(stack, form, **forged)
    assert refused.status_code == 502
    assert "The gateway refused the request" in shown(refused)


def test_a_destructive_tool_asks_first(stack: ConsoleStack) -> None:
    SMASHED.clear()
    asks = sent(stack, open_form(stack, tool="smash"))
    assert "Call it?" in shown(asks)
    assert not SMASHED
    confirm = Form(asks.text, at="/admin/playground#answer")
    assert confirm.buttons == [("confirmed", "yes")]
    assert "It is broken." in shown(sent(stack, confirm, confirmed="yes"))
    assert SMASHED == ["smashed"]


def test_a_form_that_is_not_ours_calls_nothing(stack: ConsoleStack) -> None:
    SMASHED.clear()
    body = {"service": "default", "tool": "smash", "way": "form", "confirmed": "yes"}
    for more in ({}, {"csrf_token": "0" * 64}):
        answer = stack.admin.browser.http.post("/admin/playground", data={**body, **more})
        assert answer.status_code == 403
    form = open_form(stack, tool="smash")
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert stack.admin.browser.submit(form, {"confirmed": "yes"}, headers=foreign).status_code == 403
    assert not SMASHED


def body_of(text: str, kind: str = "application/json", status: int = 200) -> Any:
    """A gateway that answers so."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        for begin in range(0, len(text), 65536):
            handler.wfile.write(text[begin : begin + 65536].encode())

    return answer


def garbage(handler: BaseHTTPRequestHandler) -> None:
    """A gateway that speaks no HTTP."""
    handler.wfile.write(b"\0\1\2 no HTTP\r\n\r\n")


LONG = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"' + "words " * 1_166_666 + 'many"}]}}'
NEWS = '{"jsonrpc":"2.0","method":"notifications/message"}'
PROBLEM = '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"No <i>such</i>."}}'
EVENT = "data: {}\n\n".format
ANSWER = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"at the end"}]}}'


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (body_of("<html>" + SCRIPT), "not valid JSON"),
        (body_of('{"jsonrpc":"2.0","id":1,"result":{"content"'), "not valid JSON"),
        (body_of("[" * 100_000), "not valid JSON"),
        (body_of('{"jsonrpc":"2.0","id":1,"result":[1]}'), "no result of a tool"),
        (body_of('{"jsonrpc":"2.0","id":1}'), "no result"),
        (body_of(" " * (9 * 2**20)), "larger than 8 MB"),
        (body_of(": ping\n\n" * 2**20 + ":" * 2**20, "text/event-stream"), "larger than 8 MB"),
        (body_of("data: x" * (9 * 2**18), "text/event-stream"), "larger than 8 MB"),
        (body_of(EVENT(NEWS), "text/event-stream"), "ended before"),
        (body_of(LONG), "6,950,000 more characters are not shown here"),
        (garbage, "does not speak HTTP"),
        (body_of("", status=401), "does not accept the console's token"),
        (body_of("", status=500), "status 500"),
        (body_of(PROBLEM, status=400), "No <i>such</i>"),
        (body_of(EVENT(NEWS) + ": ping\r\n\r\n" + EVENT(ANSWER), "text/event-stream"), "at the end"),
    ],
)  # fmt: skip
def test_an_answer_from_hell_is_one_sentence(stack: ConsoleStack, answer: Any, said: str) -> None:
    form = open_form(stack, tool="list_tables")
    with stack.front.answering(answer):
        page = sent(stack, form)
    assert said in shown(page)
    assert SCRIPT not in page.text
    assert "<i>such" not in page.text
    assert len(page.content) < 100_000


def test_an_answer_that_never_ends_is_given_up(stack: ConsoleStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_auth.gateway_client.CALL_WITHIN", 0.3)

    def forever(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.end_headers()
        while True:
            handler.wfile.write(b": still here\n\n")
            time.sleep(0.05)

    form = open_form(stack, tool="list_tables")
    with stack.front.answering(forever):
        page = sent(stack, form)
    assert "did not answer within" in shown(page)


def test_tokens_are_short_for_one_person_and_never_in_a_page(stack: ConsoleStack) -> None:
    page = sent(stack, open_form(stack, tool="list_tables"))
    token = stack.front.tokens[-1]
    said = claims(token)
    assert said["sub"] == stack.admin.id
    assert said["client_id"] == "isthmus-console"
    assert said["aud"] == f"{PUBLIC}/mcp"
    assert 0 < said["exp"] - said["iat"] <= 300
    assert stack.front.hosts == {PUBLIC.removeprefix("http://")}
    assert token not in page.text
    assert token.rpartition(".")[2] not in str(page.headers)


def listed(stack: ConsoleStack, token: str) -> int:
    """The gateway's answer to `tools/list` with a token: its status."""
    body = gateway_client.request("tools/list", {})
    headers = {
        "Host": PUBLIC.removeprefix("http://"),
        "Authorization": f"Bearer {token}",
        **gateway_client.headers("tools/list", ""),
    }
    return httpx2.post(f"{stack.gateway}/mcp", content=body, headers=headers, verify=TLS).status_code


def until_void(stack: ConsoleStack, token: str) -> float:
    """Seconds until the gateway refuses the token."""
    began = time.monotonic()
    while listed(stack, token) != 401:
        assert time.monotonic() - began < 5
        time.sleep(0.01)
    return time.monotonic() - began


def person(stack: ConsoleStack, name: str, *roles: str) -> Administrator:
    """Another administrator, signed in."""
    email, password = f"{name}@example.com", f"a passphrase of {len(name)} letters"
    asked = {"email": email, "password": password, "is_admin": True, "roles": list(roles)}
    stack.admin.done("POST", "/people", asked)
    return Administrator(stack.auth, email, password)


def test_tokens_are_void_within_a_second_of_the_sign_out(stack: ConsoleStack) -> None:
    ann = person(stack, "ann", "everything")
    assert "query_table" in ann.browser.get("/admin/playground").text
    token = stack.front.tokens[-1]
    assert listed(stack, token) == 200
    apps = ann.browser.get("/apps").text
    assert "Isthmus console" in apps
    ann.browser.submit(Form(apps), {})
    assert until_void(stack, token) < 1


def test_whoever_has_no_role_sees_nothing_and_is_told_so_until_the_session_is_ended(stack: ConsoleStack) -> None:
    cleo = person(stack, "cleo")
    text = shown(cleo.browser.get("/admin/playground"))
    assert "No source is open to you here" in text
    assert "query_table" not in text
    assert "list_sources" in text
    refused = cleo.browser.http.get("/admin/playground", params={"tool": "query_table"})
    assert refused.status_code == 404
    assert "There is no such tool for you" in shown(refused)
    token = stack.front.tokens[-1]
    assert listed(stack, token) == 200
    (own,) = stack.admin.done("GET", "/sessions?search=cleo")["sessions"]
    stack.admin.done("DELETE", f"/sessions/{own['id']}")
    assert until_void(stack, token) < 1
    assert "/sign-in" in str(cleo.browser.get("/admin/playground").url)


def test_who_is_no_administrator_comes_no_further(stack: ConsoleStack) -> None:
    made = {"email": "dan@example.com", "password": "a passphrase of dan", "roles": ["everything"]}
    stack.admin.done("POST", "/people", made)
    dan = Administrator(stack.auth, "dan@example.com", "a passphrase of dan")
    before = len(stack.front.tokens)
    assert dan.browser.http.get("/admin/playground").status_code == 403
    assert dan.browser.http.get("/admin/browse/db.shop").status_code == 403
    assert len(stack.front.tokens) == before


def test_nobody_gets_a_token_in_the_consoles_name(stack: ConsoleStack) -> None:
    auth = stack.auth
    for grant in (
        {"grant_type": "client_credentials"},
        {"grant_type": "client_credentials", "client_secret": ""},
        {"grant_type": "authorization_code", "code": "x", "code_verifier": "v" * 43},
        {"grant_type": "refresh_token", "refresh_token": "x"},
        {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": stack.front.tokens[-1]},
    ):
        answer = auth.token({"client_id": "isthmus-console", **grant})
        assert answer.status_code in (400, 401), answer.text
        assert "access_token" not in answer.text
    assert auth.post("/device_authorization", {"client_id": "isthmus-console"}).status_code in (400, 401)
    asked = auth.request(client_id="isthmus-console", redirect_uri="http://127.0.0.1:1/")
    page = stack.admin.browser.http.get("/authorize", params=asked)
    assert page.status_code == 400


def test_the_console_is_a_client_that_stays_as_it_is(stack: ConsoleStack) -> None:
    found = stack.admin.done("GET", "/clients/isthmus-console")
    assert (found["name"], found["origin"], found["grant_types"]) == ("Isthmus console", "console", [])
    for method, body in (("PATCH", {"grant_types": ["client_credentials"]}), ("DELETE", None)):
        assert stack.admin.refused(method, "/clients/isthmus-console", body)[0] == 409
    assert stack.admin.refused("POST", "/client-secrets/isthmus-console")[0] == 409
    page = shown(stack.admin.browser.get("/admin/client?client_id=isthmus-console"))
    assert "Isthmus itself" in page
    assert "Rotate" not in page
    assert "Isthmus itself" in shown(stack.admin.browser.get("/admin/clients?search=console"))


def test_where_the_gateway_is_has_to_be_an_origin() -> None:
    with pytest.raises(ConfigurationError, match="ISTHMUS_GATEWAY_ADDRESS"):
        AuthSettings(gateway_address="mcp-gateway:7410")


def test_no_other_client_is_called_as_the_console_is(tmp_path: Path) -> None:
    settings = AuthSettings(client_id="isthmus-console", admin_password="a passphrase of ours")
    engine = open_engine(msgspec.structs.replace(settings, data_dir=str(tmp_path)))
    with engine.begin() as connection, Session(connection) as session:
        migrate(connection)
        with pytest.raises(ConfigurationError, match="ISTHMUS_CLIENT_ID"):
            seed(session, settings)
    engine.dispose()


def test_a_service_that_exposes_less_shows_less(stack: ConsoleStack) -> None:
    stack.admin.done("POST", "/services", {"namespace": "papers", "label": "Papers", "sources": ["file.*"]})
    text = shown(stack.admin.browser.get("/admin/playground?service=papers"))
    assert "read_file" in text
    assert "query_table" not in text
    assert claims(stack.front.tokens[-1])["service"] == "papers"
    missing = stack.admin.browser.http.get("/admin/playground?service=nowhere")
    assert missing.status_code == 404
