"""Which app a client is, as the console tells them apart, and what it makes of forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus_auth.answers import Refusal
from isthmus_auth.console.connecting import app_of
from isthmus_auth.console.fields import fields_of, read
from isthmus_auth.mcp_services import NewService, ServiceChange
from isthmus_auth.parameters import Parameters
from isthmus_auth.people import PersonChange


@pytest.mark.parametrize(
    ("client_id", "name", "redirect_uri", "app"),
    [
        ("sales-x", "an app", "https://chatgpt.com/connector_platform_oauth_redirect", "chatgpt"),
        ("https://chatgpt.com/oauth/client.json", "ChatGPT", "https://chatgpt.com/x", "chatgpt"),
        ("sales-x", "an app", "https://claude.ai/api/mcp/auth_callback", "claude"),
        ("https://claude.ai/oauth/metadata", "Claude", "https://claude.com/api/mcp/auth_callback", "claude"),
        ("c_1", "Claude Code (sales)", "http://localhost:51234/callback", "claude-code"),
        ("https://claude.ai/oauth/claude-code", "Claude Code", "http://localhost:3118/callback", "claude-code"),
        ("c_2", "Cursor", "cursor://anysphere.cursor-mcp/oauth/callback", "cursor"),
        ("sales-x", "an app", "http://localhost:8787/callback", "cursor"),
        ("c_3", "Visual Studio Code", "http://127.0.0.1:33418/", "vscode"),
        ("sales-x", "an app", "https://vscode.dev/redirect", "vscode"),
        ("c_4", "MCP Inspector", "http://localhost:6274/oauth/callback", "inspector"),
        ("c_5", "Something", "http://localhost:4711/callback", "other"),
        ("https://claude.ai.evil.example/x", "Evil", "https://claude.ai.evil.example/callback", "other"),
        ("https://evil.example/claude.ai", "Evil", "https://evil.example/?claude.ai", "other"),
    ],
)
def test_apps_are_told_apart_by_where_their_codes_go_and_what_they_call_themselves(
    client_id: str, name: str, redirect_uri: str, app: str
) -> None:
    assert app_of(client_id, name, redirect_uri).id == app


words = st.text("abcdefgh:/.*-_", min_size=1, max_size=20)


@given(st.lists(words, max_size=5, unique=True), st.text(max_size=50).map(str.strip), st.integers(60, 86400))
def test_a_form_made_of_a_struct_gives_it_back(lines: list[str], label: str, lifetime: int) -> None:
    change = ServiceChange(redirect_uris=lines, label=label or "x", access_lifetime=lifetime, scopes=lines)
    names = ("redirect_uris", "label", "access_lifetime", "scopes")
    if any(ord(c) < 0x20 for c in label):
        return
    assert read(fields_of(change, *names), ServiceChange, *names) == change


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), words, max_size=5), st.booleans())
def test_pairs_and_boxes_come_back_too(attributes: dict[str, str], ticked: bool) -> None:
    change = PersonChange(attributes=attributes, disabled=ticked)
    names = ("attributes", "disabled")
    assert read(fields_of(change, *names), PersonChange, *names) == change


def test_what_is_wrong_is_a_sentence_about_the_field() -> None:
    for fields, said in (
        ({"namespace": "A"}, "A namespace has lower-case letters and digits"),
        ({"namespace": "a", "label": "x" * 201}, "Label is too long: 200 at most."),
        ({"namespace": "a", "label": "x", "access_lifetime": "ten"}, "An access token is valid for"),
    ):
        with pytest.raises(Refusal) as refused:
            read(Parameters({name: [value] for name, value in fields.items()}), NewService, *fields)
        assert str(refused.value.detail).startswith(said)
