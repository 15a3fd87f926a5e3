"""The official conformance suite against the product's gateway, with all fixtures on a worker behind the bus."""

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import STDOUT

import httpx2
import msgspec
import pytest

from auth_server import Auth, Browser
from bearer_proxy import bearer_proxy
from browser import Form
from conformance_worker import USE, make_worker
from gateways import running_gateway
from node import Javascript
from servers import TLS, NatsServer, free_port
from shelf import served

pytestmark = pytest.mark.timeout(240)  # the first test installs the packages

SUITE = Path("@modelcontextprotocol/conformance/dist/index.js")

LEFT_OUT = {
    # Whether a 2025 client can take up a stream again where it broke off. The suite does not score it.
    "server-sse-polling"
}

REPORTS = os.environ.get("ISTHMUS_CONFORMANCE_REPORTS", "")
"""A folder that keeps the suite's reports; empty: they go with the test."""

_RUNNING = re.compile(r"Running requirements \S+ \((\d+) scenarios\)")
_FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


class Check(msgspec.Struct, rename="camel"):
    """One line of a report."""

    id: str
    status: str
    error_message: str = ""


def checks(report: Path) -> dict[str, list[Check]]:
    """Every check of a run, by its scenario."""
    found: dict[str, list[Check]] = {}
    for file in sorted(report.glob("*/checks.json")):
        named = _FOLDER.fullmatch(file.parent.name)
        assert named is not None, file.parent.name
        found[named[1]] = msgspec.json.decode(file.read_bytes(), type=list[Check])
    return found


async def run_suite(javascript: Javascript, url: str, revision: str, report: Path) -> str:
    """What the suite prints when it runs all that it has for a revision."""
    options = ["--url", url, "--requirements", revision, "--output-dir", str(report)]
    process = await asyncio.create_subprocess_exec(
        javascript.node, javascript.modules / SUITE, "server", *options, stdout=asyncio.subprocess.PIPE, stderr=STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode()


@pytest.mark.alone  # the suite waits half a second for some answers
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_the_official_conformance_suite_passes_without_failures_or_warnings(
    nats: NatsServer,
    javascript: Javascript,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    revision: str,
) -> None:
    public, report = f"http://127.0.0.1:{free_port()}", tmp_path / revision
    async with (
        running_gateway(nats, behind=public, call_timeout=30) as gateway,
        served(make_worker(), nats, user="worker"),
        bearer_proxy(public, gateway.url, lambda: gateway.authority.token(scope=USE)),
    ):
        output = await run_suite(javascript, f"{public}/mcp", revision, report)
    found = checks(report)
    counts = Counter(check.status for name in found.keys() - LEFT_OUT for check in found[name])
    told = ", ".join(f"{counts[status]} {status.lower()}" for status in ("SUCCESS", "FAILURE", "WARNING", "SKIPPED"))
    summary = f"conformance {revision}: {len(found.keys() - LEFT_OUT)} scenarios, checks: {told}"
    record_property("summary", summary)
    (report / "output.txt").write_text(output)
    (report / "summary.json").write_text(json.dumps({"revision": revision, "summary": summary, **counts}, indent=2))
    if REPORTS:
        shutil.copytree(report, Path(REPORTS) / revision, dirs_exist_ok=True)

    announced = _RUNNING.search(output)
    assert announced is not None, output[-2000:]
    assert len(found) == int(announced[1]), f"only {sorted(found)} came to an end:\n{output[-2000:]}"
    assert counts["SUCCESS"] > 0
    problems = [
        f"{name}: {check.id}: {check.status}: {check.error_message}"
        for name in sorted(found.keys() - LEFT_OUT)
        for check in found[name]
        if check.status not in ("SUCCESS", "INFO", "SKIPPED")
    ]
    assert not problems, "\n".join(problems)


async def test_the_official_suite_of_authorization_servers_passes(javascript: Javascript, tmp_path: Path) -> None:
    auth, report = Auth(tmp_path / "auth"), tmp_path / "authorization"
    port = free_port()
    with auth.running():
        client = auth.register(redirect_uris=[f"http://127.0.0.1:{port}/callback"])["client_id"]
        options = ["--url", auth.url, "--client-id", client, "--port", str(port), "--output-dir", str(report)]
        options += ["--resource", f"{auth.gateway}/mcp"]
        suite = await asyncio.create_subprocess_exec(
            javascript.node,
            javascript.modules / SUITE,
            "authorization",
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=STDOUT,
        )
        assert suite.stdout is not None
        output = ""
        try:
            async with asyncio.timeout(60):
                async for line in suite.stdout:
                    output += line.decode()
                    if line.startswith(f"{auth.url}/authorize".encode()):
                        await asyncio.to_thread(_sign_in, auth, line.decode().strip())
                await suite.wait()
        finally:
            if suite.returncode is None:
                suite.kill()
    assert suite.returncode == 0, output
    found = [
        check
        for file in sorted(report.glob("*/checks.json"))
        for check in msgspec.json.decode(file.read_bytes(), type=list[Check])
    ]
    assert len(found) >= 3, output
    assert {check.status for check in found} <= {"SUCCESS", "INFO"}, output


def _sign_in(auth: Auth, url: str) -> None:
    """What the suite asks a person to do."""
    browser = Browser(auth)
    page = browser.sign_in(url.removeprefix(auth.url))
    answer = browser.submit(Form(page.text), {"decision": "allow"})
    httpx2.get(answer.headers["location"], verify=TLS)
