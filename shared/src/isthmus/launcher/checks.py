"""What `isthmus doctor` looks at: a function per question, and a cure for each answer that is not good."""

import os
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import httpx2
import msgspec

from isthmus.errors import ConfigurationError, IsthmusError, SourceUnavailable
from isthmus.launcher.client import LocalStack, call_tool
from isthmus.launcher.ports import Ports, is_free
from isthmus.launcher.state import DataFolder, Secrets, read
from isthmus.origins import ENDPOINT_PATH, Origins

CLOCKS_APART = 30.0
"""Seconds; tokens live for minutes, and their times are compared across machines."""

OLDEST_NATS = (2, 11)
"""The policy bucket sets a time to live per message, which older servers do not know."""

WORKERS = {"isthmus_db_worker": "databases", "isthmus_file_worker": "files"}
"""The modules that know what their section of the configuration file may say."""

READS = {"db": ("describe_table", "database", "table"), "file": ("list_files", "store", "path")}
"""Kind of source → a cheap tool that reaches the data itself, its source's argument, and one more that it needs."""
NOWHERE = {"db": "isthmus_doctor", "file": ""}
"""What that argument is: a table that is not there makes a db worker look into the database, not into its memory."""

State = Literal["ok", "problem", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """The answer to one question."""

    about: str
    state: State
    text: str
    cure: str = ""
    """What to do; empty unless there is a problem."""


def check_folder(folder: DataFolder) -> Finding:
    """The data folder: ours, writable, for nobody else's eyes."""
    about, path = "data folder", folder.path
    if not path.exists() and not path.is_symlink():
        return Finding(about, "ok", f"{path} is made at the first start.")
    if not path.is_dir():
        return Finding(about, "problem", f"{path} is not a folder.", "Remove it, or choose another --data-dir.")
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        cure = f"Make it writable for this user (chown, chmod 700 {path}), or choose another --data-dir."
        return Finding(about, "problem", f"{path} cannot be written: {error.strerror}.", cure)
    if _is_open_to_others(path):
        return Finding(about, "problem", f"Other users of this machine can look into {path}.", f"chmod 700 {path}")
    for file in (folder.secrets_file, folder.connection_file):
        if file.exists() and _is_open_to_others(file):
            return Finding(about, "problem", f"Other users of this machine can read {file}.", f"chmod 600 {file}")
    try:
        read(folder.secrets_file, Secrets)
    except ConfigurationError as error:
        return Finding(about, "problem", error.message, "Stop Isthmus first; clients then need the new secret.")
    return Finding(about, "ok", f"{path} is writable, and for this user alone.")


def check_configuration(config: Path | None) -> list[Finding]:
    """The configuration file, as the workers themselves judge it."""
    about = "configuration"
    if config is None:
        return [Finding(about, "ok", "There is no isthmus.toml here, and none is needed.")]
    with ThreadPoolExecutor(len(WORKERS)) as threads:
        refusals = set(threads.map(_refusal, WORKERS, repeat(config))) - {""}
    if refusals:
        cure = f"Correct {config}; a worker that runs takes it over as soon as it is right."
        return [Finding(about, "problem", text, cure) for text in sorted(refusals)]
    return [Finding(about, "ok", f"{config} is valid.")]


def check_free_ports(ports: Ports) -> list[Finding]:
    """Before a start: whether the usual ports are free."""
    taken = {name: port for name, port in msgspec.structs.asdict(ports).items() if not is_free(port)}
    if not taken:
        return [Finding("ports", "ok", f"{', '.join(map(str, msgspec.structs.astuple(ports)))} are free.")]
    return [
        Finding(
            "ports",
            "problem",
            f"Port {port} of {name.replace('_', ' ')} is taken by another program.",
            f"Stop that program (`lsof -i :{port}` names it); else `isthmus up` chooses another port, which clients "
            "that are set up already do not know.",
        )
        for name, port in taken.items()
    ]


def check_service(about: str, url: str, log: str) -> Finding:
    """Whether auth or gateway is ready."""
    answer = fetch(f"{url}/readyz")
    if answer is None:
        return Finding(about, "problem", f"Nothing answers at {url}.", f"Look at {log}, and start Isthmus again.")
    if answer.status_code != 200:
        return Finding(about, "problem", f"{about} at {url} is not ready.", f"Look at {log}.")
    return Finding(about, "ok", f"{about} at {url} is ready.")


def check_bus(monitor_url: str) -> Finding:
    """Version and JetStream of the NATS server, by its monitoring port."""
    about = "bus"
    answer = fetch(f"{monitor_url}/varz")
    if answer is None or answer.status_code != 200:
        cure = "Look at nats-server.log in the data folder's logs, and start Isthmus again."
        return Finding(about, "problem", f"nats-server does not answer at {monitor_url}.", cure)
    server = answer.json()
    version = str(server.get("version", ""))
    if _numbers(version) < OLDEST_NATS:
        oldest = ".".join(map(str, OLDEST_NATS))
        return Finding(about, "problem", f"nats-server {version} is too old.", f"Install {oldest} or newer.")
    if not server.get("jetstream", {}).get("config"):
        cure = "Start nats-server with JetStream: -js, or jetstream {} in its configuration."
        return Finding(about, "problem", f"nats-server {version} runs without JetStream.", cure)
    return Finding(about, "ok", f"nats-server {version} with JetStream.")


def check_clock(about: str, url: str) -> Finding:
    """This machine's clock against that of a service, by the Date of its answer (RFC 9110, section 6.6.1)."""
    subject = f"clock of {about}"
    answer = fetch(url)
    try:
        date = parsedate_to_datetime(answer.headers["date"]) if answer is not None else None
    except (KeyError, ValueError):
        date = None
    if date is None:
        return Finding(subject, "unknown", f"{url} does not say what time it is.")
    apart = (date.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    if abs(apart) <= CLOCKS_APART:
        return Finding(subject, "ok", "It agrees with the clock of this machine.")
    text = f"It is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the clock of this machine."
    cure = "Set both clocks by NTP (timedatectl set-ntp true): tokens would count as expired, or not yet valid."
    return Finding(subject, "problem", text, cure)


def check_public(issuer: str, endpoint: str) -> Finding:
    """Whether clients that come by the public address find what the tokens say (RFC 8414, RFC 9728)."""
    about = "public address"
    origins = Origins(issuer, endpoint.removesuffix(ENDPOINT_PATH))
    proxy = "Let the proxy send /mcp… and /.well-known/oauth-protected-resource… to the gateway, all else to auth; "
    for url, member, wanted in (
        (f"{issuer}/.well-known/oauth-authorization-server", "issuer", issuer),
        (origins.metadata(), "resource", endpoint),
    ):
        answer = fetch(url)
        if answer is None:
            return Finding(about, "problem", f"Nothing answers at {url}.", proxy + "or correct --public-url.")
        try:
            found = answer.json().get(member)
        except (ValueError, AttributeError):
            text = f"{url} answers {answer.status_code}, but not as Isthmus does."
            return Finding(about, "problem", text, proxy + "or correct --public-url.")
        if found != wanted:
            text = f"{url} says that the {member} is {found}, but clients know {wanted}."
            return Finding(about, "problem", text, "Start with --public-url as clients write it, to the letter.")
    return Finding(about, "ok", f"{endpoint} is described as it is called.")


def check_sources(stack: LocalStack, token: str, logs: Path) -> list[Finding]:
    """Every source: whether its workers agree, and whether they reach the data."""
    answer = call_tool(stack, token, "list_sources", {"limit": 200})
    sources: list[dict[str, Any]] = answer["structuredContent"]["sources"]
    if not sources:
        cure = "Start with --db NAME=URL or --files NAME=FOLDER, or write an isthmus.toml."
        return [Finding("sources", "problem", "No worker serves a source.", cure)]
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(_check_source, repeat(stack), repeat(token), sources, repeat(logs)))


def fetch(url: str) -> httpx2.Response | None:
    """The answer to a GET; None: there was none."""
    is_local = httpx2.URL(url).host in ("127.0.0.1", "localhost", "::1")
    try:
        return httpx2.get(url, timeout=5, trust_env=not is_local)
    except httpx2.HTTPError:
        return None


def _check_source(stack: LocalStack, token: str, source: dict[str, Any], logs: Path) -> Finding:
    name, kind = str(source["name"]), str(source["kind"])
    about, log = f"{kind}.{name}", logs / f"{kind}-worker.log"
    if source["problem"]:
        cure = "Give one of them another name in its configuration; `isthmus status` shows who serves it."
        return Finding(about, "problem", source["problem"], cure)
    if kind not in READS or READS[kind][0] not in source["tools"]:
        return Finding(about, "unknown", "Its data cannot be looked at with a tool that is known here.")
    tool, argument, other = READS[kind]
    try:
        result = call_tool(stack, token, tool, {argument: name, other: NOWHERE[kind]})
    except IsthmusError as error:
        return Finding(about, "problem", error.message, f"Look at {log}.")
    code = result.get("_meta", {}).get("isthmus/error", "")
    if not result.get("isError") or code == "not_found":
        return Finding(about, "ok", "It answers.")
    text = str(result["content"][0]["text"])
    if code == SourceUnavailable.code:
        return Finding(about, "problem", text, f"{_reach(kind)} {log} has the reason.")
    return Finding(about, "problem", text, f"Look at {log}.")


def _reach(kind: str) -> str:
    if kind == "db":
        return "See that the database runs, and that its url is right."
    return "See that the folder or bucket is there, and that its path or url is right."


def _refusal(module: str, config: Path) -> str:
    """What the worker says against the file; empty: nothing."""
    environment = {name: value for name, value in os.environ.items() if name not in _OTHER_SOURCES}
    worker = subprocess.run(
        [sys.executable, "-m", module, "--check"],
        env={"ISTHMUS_DATA_DIR": ".", **environment, "ISTHMUS_CONFIG": str(config)},  # `isthmus up` gives it one
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    last = worker.stderr.strip().rpartition("\n")[2]
    return "" if worker.returncode == 0 else last.removeprefix(f"{module.replace('_', '-')}: ")


_OTHER_SOURCES = {f"ISTHMUS_{section.upper()}" for section in WORKERS.values()}


def _is_open_to_others(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
