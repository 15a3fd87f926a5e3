"""The file worker as a process on a real bus: configuration, definitions, calls, deadlines and leaving."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buckets import Endpoint
from file_caller import file_worker, stores
from isthmus import subjects
from isthmus.demo import files as demo
from isthmus.grants import Grant
from servers import NatsServer

pytest_plugins = ["store_fixtures"]


async def test_stores_come_from_the_file_and_the_environment(nats: NatsServer, tmp_path: Path) -> None:
    demo.create(tmp_path / "demo")
    (tmp_path / "isthmus.toml").write_text(
        f'[files.shared]\npath = "{tmp_path}/demo"\ndescription = "What we share"\n'
        '[databases.sales]\nurl = "${NOT_SET_FOR_THIS_WORKER}"\n'
    )
    writable = stores(drafts={"path": str(tmp_path / "missing"), "access": "read-write", "title": "Our drafts"})
    config = str(tmp_path / "isthmus.toml")
    async with file_worker(nats, ISTHMUS_CONFIG=config, ISTHMUS_FILES=writable) as caller:
        info = await caller.ask("$SRV.INFO.file-worker")
        shown = {endpoint["name"]: endpoint["metadata"] for endpoint in info["endpoints"]}
        assert {name: (m["engine"], m["title"], m["description"], m["access"]) for name, m in shown.items()} == {
            "shared": ("folder", "Shared", "What we share", "read-only"),
            "drafts": ("folder", "Our drafts", "", "read-write"),
        }
        assert str(tmp_path) not in str(info)
        tools = {
            name: [t["name"] for t in (await caller.ask(subjects.tools("file", m["definitions"])))["tools"]]
            for name, m in shown.items()
        }
        reading = ["get_file_info", "list_files", "read_file", "search_files"]
        writing = ["copy_file", "create_folder", "delete_file", "edit_file", "move_file", "write_file"]
        assert tools == {"shared": reading, "drafts": sorted(reading + writing)}
        listed = await caller.call("shared", "list_files", store="shared", recursive=True, pattern="*.csv")
        assert [entry["path"] for entry in listed["structuredContent"]["entries"]] == ["reports/monthly-sales.csv"]
        missing = await caller.call("drafts", "list_files")
        assert missing["content"][0]["text"] == "The store drafts cannot be reached at the moment."


async def test_the_definitions_tell_a_model_what_to_send(nats: NatsServer, tmp_path: Path) -> None:
    files = stores(drafts={"path": str(tmp_path), "access": "read-write"})
    async with file_worker(nats, ISTHMUS_FILES=files) as caller:
        info = await caller.ask("$SRV.INFO.file-worker")
        digest = info["endpoints"][0]["metadata"]["definitions"]
        tools = {tool["name"]: tool for tool in (await caller.ask(subjects.tools("file", digest)))["tools"]}
    for tool in tools.values():
        assert tool["sources"] == {"store": "file"}
        assert tool["description"].endswith(".")
        assert all("description" in argument for argument in tool["inputSchema"]["properties"].values())
        assert tool["outputSchema"]["type"] == "object"
    assert {name: (tool["scope"], tool["annotations"]["readOnlyHint"]) for name, tool in tools.items()} == {
        "get_file_info": ("files:read", True),
        "search_files": ("files:read", True),
        "list_files": ("files:read", True),
        "read_file": ("files:read", True),
        "write_file": ("files:write", False),
        "copy_file": ("files:write", False),
        "create_folder": ("files:write", False),
        "edit_file": ("files:write", False),
        "move_file": ("files:write", False),
        "delete_file": ("files:write", False),
    }
    assert tools["delete_file"]["annotations"]["destructiveHint"] is True
    assert tools["create_folder"]["annotations"]["idempotentHint"] is True


async def test_a_file_goes_over_the_bus_and_back(nats: NatsServer, tmp_path: Path) -> None:
    data = os.urandom(4_000_000)
    files = stores(drafts={"path": str(tmp_path / "drafts"), "access": "read-write"})
    (tmp_path / "drafts").mkdir()
    async with file_worker(nats, ISTHMUS_FILES=files) as caller:
        content = base64.b64encode(data).decode()
        written = await caller.call("drafts", "write_file", path="in/a.bin", content=content, encoding="base64")
        assert written["structuredContent"].pop("etag")
        assert written["structuredContent"] == {"path": "in/a.bin", "size": 4_000_000, "done": "created"}
        assert (tmp_path / "drafts/in/a.bin").read_bytes() == data
        part = await caller.call("drafts", "read_file", path="in/a.bin", encoding="base64", offset=3_900_000)
        assert base64.b64decode(part["structuredContent"]["content"]) == data[3_900_000:]


async def test_a_bucket_is_served_with_credentials_from_the_environment(
    nats: NatsServer, tmp_path: Path, rclone: Endpoint
) -> None:
    place = rclone.bucket("2026/")
    (tmp_path / "isthmus.toml").write_text(
        f'[files.drafts]\nurl = "{place.settings.url}"\naccess = "read-write"\n'
        'access_key = "${S3_KEY}"\nsecret_key = "${S3_SECRET}"\n'
    )
    environment = {
        "ISTHMUS_CONFIG": str(tmp_path / "isthmus.toml"),
        "S3_KEY": rclone.access_key,
        "S3_SECRET": rclone.secret_key,
    }
    async with file_worker(nats, **environment) as caller:
        (endpoint,) = (await caller.ask("$SRV.INFO"))["endpoints"]
        assert endpoint["metadata"]["engine"] == "s3"
        await caller.call("drafts", "write_file", path="a.txt", content="hello")
        assert (await caller.call("drafts", "read_file", path="a.txt"))["content"][0]["text"] == "hello"
    assert place.tree() == {"a.txt": b"hello"}


async def test_the_largest_sound_fits_the_bus(nats: NatsServer, tmp_path: Path) -> None:
    sound = b"ID3\4" + os.urandom(4 * 1024 * 1024 - 4)
    (tmp_path / "a.mp3").write_bytes(sound)
    async with file_worker(nats, ISTHMUS_FILES=stores(shared={"path": str(tmp_path)})) as caller:
        result = await caller.call("shared", "read_file", path="a.mp3")
    assert base64.b64decode(result["content"][1]["data"]) == sound


async def test_grants_reach_the_store_through_the_bus(nats: NatsServer, tmp_path: Path) -> None:
    demo.create(tmp_path)
    reader = Grant(("file.shared",), ("read",), ("reports/**",))
    async with file_worker(nats, ISTHMUS_FILES=stores(shared={"path": str(tmp_path)})) as caller:
        listed = await caller.call("shared", "list_files", grant=reader)
        assert listed["content"][0]["text"] == "reports/"
        hidden = await caller.call("shared", "read_file", grant=reader, path="handbook.txt")
        assert hidden["content"][0]["text"] == "There is no handbook.txt. There is only reports."


async def test_a_deadline_frees_the_worker_for_the_next_call(nats: NatsServer, tmp_path: Path) -> None:
    with (tmp_path / "huge.log").open("wb") as file:
        file.truncate(4_000_000_000)
    files = stores(shared={"path": str(tmp_path), "limit": 1})
    async with file_worker(nats, ISTHMUS_FILES=files) as caller:
        slow: dict[str, Any] = {"path": "huge.log", "encoding": "utf-8", "start": 2}
        late = await caller.call("shared", "read_file", milliseconds=200, **slow)
        assert late["_meta"] == {"isthmus/error": "deadline_exceeded"}
        assert (await caller.call("shared", "list_files"))["isError"] is False


async def test_the_worker_starts_quickly_and_leaves_in_order(nats: NatsServer, tmp_path: Path) -> None:
    async with file_worker(nats, ISTHMUS_FILES=stores(shared={"path": str(tmp_path)})) as caller:
        assert caller.joined_after < 3
    assert caller.process.returncode == 0


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            '{"reports": {"path": "x", "acess": "read-only"}}',
            "has an unknown key `acess`. Did you mean access, access_key?",
        ),
        ('{"reports": {}}', "ISTHMUS_FILES: a store has either a `path` or a `url`."),
        ('{"reports": {"path": "x", "access": "all"}}', "access"),
        ('{"Re ports": {"path": "x"}}', "'Re ports' cannot be the name of a source"),
        ("{", "ISTHMUS_FILES is not a JSON object of sources"),
    ],
)
def test_a_wrong_configuration_ends_the_worker_with_one_sentence(files: str, sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isthmus_file_worker"],
        env={**os.environ, "ISTHMUS_FILES": files},
        capture_output=True,
        timeout=20,
        check=False,
        text=True,
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
