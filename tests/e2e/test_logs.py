"""The logs of a whole stack at their most talkative: what they say, and what they never say."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from browser import Browser
from servers import TLS
from stack import SECRET, Person, Stack, running_stack

ARGUMENT = "argument-of-a-call-4711"
RESULT = "result-of-a-call-4711"
WRONG_PASSWORD = "nearly-the-password-4711"
SERVICES = ("auth", "mcp-gateway", "db-worker", "file-worker")


async def test_logs_name_calls_and_hold_no_secret(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text(RESULT)
    sources = ["--db", f"down=postgresql://reader:{SECRET}@127.0.0.1:1/sales", "--files", f"papers={tmp_path}/papers"]
    sources += ["--files", f"gone={tmp_path}/gone"]
    settings = {"ISTHMUS_LOG_FORMAT": "json", "ISTHMUS_LOG_LEVEL": "DEBUG"}
    with running_stack(tmp_path / "data", *sources, **settings) as stack:
        secrets = await everything_that_can_happen(stack)
        lines = {name: records(stack, name) for name in SERVICES}
        everything = "".join(path.read_text() for path in (stack.folder.path / "logs").iterdir())
    assert not [what for what, secret in secrets.items() if secret in everything]

    for name, found in lines.items():
        assert found
        assert {"time", "level", "service", "logger", "message"} <= set.intersection(*map(set, found))
        assert {record["service"] for record in found} == {name}

    calls = [record for record in lines["mcp-gateway"] if "outcome" in record]
    outcomes = [(record["tool"], record["source"], record["outcome"]) for record in calls]
    assert ("list_tables", "db.down", "source_unavailable") in outcomes
    assert ("list_files", "file.gone", "source_unavailable") in outcomes
    assert ("read_file", "file.papers", "ok") in outcomes
    assert ("read_file", "file.papers", "invalid_arguments") in outcomes
    assert ("read_file", "", "unknown_source") in outcomes
    assert ("unknown tool", "", "unknown_tool") in outcomes
    for record in calls:
        assert {"principal", "namespace", "call"} <= set(record)
        assert record["milliseconds"] >= 0
    assert len({record["call"] for record in calls}) == len(calls)

    for worker, source in (("db-worker", "db.down"), ("file-worker", "file.gone")):
        (call,) = [record["call"] for record in calls if record["source"] == source]
        of_call = [record for record in lines[worker] if record.get("call") == call]
        assert {record["level"] for record in of_call} == {"warning", "debug"}


async def everything_that_can_happen(stack: Stack) -> dict[str, str]:
    """Signs in, wrongly and rightly, calls, fails and refreshes; returns every secret that came up."""
    person = Person(stack.connection)
    async with person.client() as client:
        await client.call_tool("list_sources", {})
        read = await client.call_tool("read_file", {"store": "papers", "path": "a.txt"})
        assert read.structured_content is not None
        assert RESULT in str(read.structured_content)
        for tool, arguments in {
            "list_tables": {"database": "down"},
            "list_files": {"store": "gone"},
            "write_everything": {"path": ARGUMENT},
        }.items():
            assert (await client.call_tool(tool, arguments)).is_error
        for store, path in (("papers", 3), ("papers", ARGUMENT), (ARGUMENT, "a.txt")):
            assert (await client.call_tool("read_file", {"store": store, "path": path})).is_error
    tokens, registered = person.storage.tokens, person.storage.client
    assert tokens is not None
    assert tokens.refresh_token is not None
    assert registered is not None
    found = {
        "the password of a database": SECRET,
        "an argument": ARGUMENT,
        "a result": RESULT,
        "a wrong password": WRONG_PASSWORD,
        "an access token": tokens.access_token,
        "a refresh token": tokens.refresh_token,
        "an authorization code": parse_qs(urlsplit(person.answer).query)["code"][0],
        "a client's secret": registered.client_secret or SECRET,
    }
    issuer, endpoint = stack.connection.issuer, stack.connection.mcp_endpoint
    async with Browser(issuer) as browser:
        await browser.open(stack.connection.admin_url)
        await browser.submit(email=stack.connection.admin_email, password=WRONG_PASSWORD)
        await browser.submit(email=stack.connection.admin_email, password=stack.connection.admin_password)
        found |= {f"the cookie {cookie.name}": str(cookie.value) for cookie in browser.http.cookies.jar}
    client = {"client_id": registered.client_id or "", "client_secret": registered.client_secret or ""}
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, **client}
    async with httpx2.AsyncClient(verify=TLS) as http:
        renewed = (await http.post(f"{issuer}/token", data=refresh)).json()
        found |= {"a new access token": renewed["access_token"], "a new refresh token": renewed["refresh_token"]}
        again = await http.post(f"{issuer}/token", data=refresh)
        wrong = await http.post(f"{issuer}/token", data={**refresh, "client_secret": WRONG_PASSWORD})
        assert (again.status_code, wrong.status_code) == (400, 401)
        for token in (WRONG_PASSWORD, tokens.access_token):
            for body in (f'{{"method": "{ARGUMENT}"', f'{{"jsonrpc": "2.0", "id": 1, "method": "{ARGUMENT}"}}'):
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                await http.post(endpoint, content=body, headers=headers)
    kept = stack.folder.secrets()
    found |= {f"the password of {user} on the bus": password for user, password in kept.nats_passwords.items()}
    found |= {name: getattr(kept, name) for name in ("client_secret", "cli_secret", "admin_password")}
    return {**found, "the fingerprint key": kept.fingerprint_key}


def records(stack: Stack, service: str) -> list[dict[str, Any]]:
    """Every line of a service's log; each is one JSON object."""
    return [json.loads(line) for line in (stack.folder.path / "logs" / f"{service}.log").read_text().splitlines()]
