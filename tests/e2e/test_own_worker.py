"""A worker of one's own beside a running `isthmus up`: the example with Git, as its page tells people to run it."""

import ast
import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
import tokenize
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcp import Client
from mcp_types import TextContent

from stack import ISTHMUS, Person, Stack, Storage, claims

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"
EXAMPLE = Path(__file__).parents[2] / "examples" / "git_worker.py"
TOOLS = {"list_commits", "search_code", "show_file"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits; a file that is too long for one answer; a branch that takes for ever to read."""
    folder = tmp_path_factory.mktemp("repository")

    def git(*arguments: str) -> None:
        person = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        subprocess.run(["git", *person, *arguments], cwd=folder, check=True, capture_output=True, timeout=10)

    git("init", "--initial-branch", "main")
    for number, text in enumerate(("one\n", "one\ntwo\n", "one\ntwo\nthe third line\n"), 1):
        (folder / "lines.txt").write_text(text)
        if number == 2:
            (folder / "docs").mkdir()
            (folder / "docs" / "long.txt").write_text("word\n" * 100_000)
        git("add", ".")
        git("commit", "--message", f"Change {number}")
    os.mkfifo(folder / ".git" / "refs" / "heads" / "endless")
    return folder


@contextmanager
def joined(stack: Stack, *program: str | Path, **settings: str) -> Generator[subprocess.Popen[bytes]]:
    """A program of one's own, run as `isthmus run` runs it."""
    command = [ISTHMUS, "run", "--data-dir", stack.folder.path, *program]
    process = subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def worker(stack: Stack, repository: Path) -> Generator[subprocess.Popen[bytes]]:
    """The example, found by the gateway."""
    with joined(stack, sys.executable, EXAMPLE, "site", repository) as process:
        end = time.monotonic() + 10
        while "site" not in stack.command("sources").stdout:
            assert process.poll() is None
            assert time.monotonic() < end
        yield process


@pytest.fixture(scope="module")
def memory() -> Storage:
    """The one sign-in of this module."""
    return Storage()


@pytest.fixture
async def client(stack: Stack, worker: subprocess.Popen[bytes], memory: Storage) -> AsyncGenerator[Client]:
    async with Person(stack.connection, memory).client() as connected:
        yield connected


async def said(client: Client, tool: str, **arguments: object) -> tuple[bool, str]:
    """Whether the call worked, and its text."""
    answer = await client.call_tool(tool, arguments)
    (part,) = answer.content
    assert isinstance(part, TextContent)
    return not answer.is_error, part.text


async def test_a_person_signs_in_for_its_scope_and_uses_its_tools(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() >= TOOLS
    assert tools["search_code"].input_schema["properties"]["repository"]["enum"] == ["site"]
    assert tools["search_code"].input_schema["required"] == ["text"]
    worked, text = await said(client, "list_commits", path="lines.txt")
    assert worked
    assert [line.partition(" Ann: ")[2] for line in text.splitlines()] == ["Change 3", "Change 2", "Change 1"]
    assert await said(client, "show_file", path="lines.txt", revision="main~1", repository="site") == (
        True,
        "one\ntwo\n",
    )
    assert await said(client, "search_code", text="third") == (True, "HEAD:lines.txt:3:the third line\n")
    assert await said(client, "search_code", text="fourth") == (True, "There is nothing.")
    worked, text = await said(client, "show_file")
    assert worked
    assert "docs" in text


async def test_the_consent_page_names_the_kind_and_the_person_decides(
    stack: Stack, worker: subprocess.Popen[bytes]
) -> None:
    person = Person(stack.connection, scopes=["git:use"])
    async with person.client() as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools == TOOLS | {"list_sources"}
    assert "Use the git tools" in person.consent
    async with Person(stack.connection, scopes=["data:read"]).client() as client:
        assert not {tool.name for tool in (await client.list_tools()).tools} & TOOLS


def test_the_commands_of_the_launcher_have_its_scope(stack: Stack, worker: subprocess.Popen[bytes]) -> None:
    scopes = str(claims(stack.command("token").stdout)["scope"]).split()
    assert {"git:use", "data:write", "sql:run"} <= set(scopes)
    called = stack.command("call", "show_file", '{"path": "lines.txt", "revision": "main~2"}')
    assert (called.returncode, called.stdout) == (0, "one\n\n")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_commits", {"revision": "--output=stolen"}),
        ("list_commits", {"path": "--output=stolen"}),
        ("show_file", {"path": "lines.txt", "revision": "--batch"}),
        ("search_code", {"text": "one", "revision": "--open-files-in-pager=touch stolen"}),
        ("search_code", {"text": "-fstolen"}),
        ("show_file", {"path": "lines.txt\x00"}),
    ],
)
async def test_no_argument_becomes_an_option(
    client: Client, repository: Path, tool: str, arguments: dict[str, str]
) -> None:
    worked, text = await said(client, tool, **arguments)
    assert not worked
    assert "matching regex" in text
    assert not (repository / "stolen").exists()


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("show_file", {"path": "../../../../etc/passwd"}),
        ("show_file", {"path": "/etc/passwd"}),
        ("list_commits", {"revision": "nowhere"}),
        ("search_code", {"text": "one", "revision": "nowhere"}),
    ],
)
async def test_what_is_not_there_is_said(client: Client, tool: str, arguments: dict[str, str]) -> None:
    assert await said(client, tool, **arguments) == (False, "There is no such revision or path in this repository.")


async def test_a_long_answer_is_cut_and_says_so(client: Client) -> None:
    worked, text = await said(client, "show_file", path="docs/long.txt")
    assert worked
    assert text.endswith("[cut here; ask for less]")
    assert len(text) < 101_000


async def test_at_the_deadline_git_is_killed(client: Client, repository: Path) -> None:
    calling = asyncio.create_task(said(client, "list_commits", revision="endless"))
    while not (running := programs(repository)) and not calling.done():
        await asyncio.sleep(0.02)
    assert running
    worked, text = await calling
    assert not worked
    assert "longer than it may" in text
    assert programs(repository) == []


def programs(folder: Path) -> list[str]:
    """The processes of git that work there."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and (process / "comm").read_text() == "git\n":
                found.append(process.name)
        except OSError:
            continue
    return found


def test_a_worker_that_is_told_to_end_leaves_and_its_exit_code_is_its_own(stack: Stack, repository: Path) -> None:
    with joined(stack, sys.executable, EXAMPLE, "passing", repository) as process:
        end = time.monotonic() + 10
        while "passing" not in stack.command("sources").stdout:
            assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert "passing" not in stack.command("sources").stdout
    with joined(stack, sys.executable, "-c", "import sys; sys.exit(7)") as process:
        assert process.wait(10) == 7


def test_the_worker_that_the_page_begins_with_runs_as_it_is_written(stack: Stack, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "notes_worker.py").write_text(code)
    with joined(stack, sys.executable, tmp_path / "notes_worker.py"):
        end = time.monotonic() + 10
        while "kitchen" not in stack.command("sources").stdout:
            assert time.monotonic() < end
        called = stack.command("call", "read_note", '{"title": "bread"}')
        assert (called.returncode, called.stdout) == (0, "flour, water, salt\n")
        called = stack.command("call", "read_note", '{"title": "cake"}')
        assert (called.returncode, called.stdout) == (1, "There is no note 'cake'.\n")


def test_another_bus_in_the_environment_does_not_count(stack: Stack) -> None:
    """The program has what the kit needs, and no setting that would be at odds with it."""
    with joined(
        stack,
        sys.executable,
        "-c",
        "from isthmus.worker import WorkerSettings; from isthmus.settings import read_settings\n"
        "found = read_settings(WorkerSettings)\n"
        "assert found.nats_user == 'worker' and found.nats_password and found.fingerprint_key\n"
        f"assert found.nats_url == '{stack.connection.nats_url}' and not found.nats_nkey_seed",
        ISTHMUS_NATS_URL="nats://elsewhere:4222",
        ISTHMUS_NATS_PASSWORD_FILE="/nowhere",
        ISTHMUS_NATS_NKEY_SEED="SU",
        ISTHMUS_FINGERPRINT_KEY_FILE="/nowhere",
    ) as process:
        assert process.wait(10) == 0


def test_what_cannot_run_is_one_sentence(stack: Stack, tmp_path: Path) -> None:
    def run(folder: Path, *program: str) -> tuple[int, str]:
        command = [ISTHMUS, "run", "--data-dir", folder, *program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, " ".join(done.stderr.split())

    assert run(tmp_path, "true") == (1, "Isthmus does not run here; start it with `isthmus up`.")
    assert run(stack.folder.path, "no-such-program") == (1, "There is no program 'no-such-program'.")
    assert run(stack.folder.path, str(tmp_path)) == (1, f"'{tmp_path}' cannot be started: Permission denied.")


def test_the_example_has_thirty_lines_of_code() -> None:
    text = EXAMPLE.read_text()
    prose = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    told = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    assert len({token.start[0] for token in tokens if token.type not in told} - prose) <= 30
