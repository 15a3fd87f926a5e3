"""What is particular to buckets: conditions, markers, odd keys, ranges, and endpoints that fail."""

import asyncio
import io
import logging
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from buckets import Endpoint
from isthmus.errors import Conflict
from isthmus_file_worker import s3
from isthmus_file_worker.bucket import Bucket
from isthmus_file_worker.locations import BucketLocation
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.threads import Stop
from servers import free_port
from stores import FolderPlace, Place, Store

pytest_plugins = ["store_fixtures"]


class Elsewhere:
    """A place whose settings are not quite those of the place that is there."""

    def __init__(self, place: Place, **changes: str) -> None:
        self._place = place
        self.settings = msgspec.structs.replace(place.settings, **changes)
        self.fill, self.delete, self.tree = place.fill, place.delete, place.tree


CALLS: dict[str, dict[str, Any]] = {
    "list_files": {},
    "read_file": {"path": "a.txt"},
    "write_file": {"path": "a.txt", "content": "x", "mode": "overwrite"},
    "edit_file": {"path": "a.txt", "edits": [{"old": "a", "new": "b"}]},
    "copy_file": {"path": "a.txt", "to_path": "b.txt"},
    "move_file": {"path": "a.txt", "to_path": "b.txt"},
    "create_folder": {"path": "a"},
    "delete_file": {"path": "a.txt"},
}


async def test_of_many_that_create_one_file_at_once_one_does_where_conditions_are_honoured(moto: Endpoint) -> None:
    store = Store.at(moto.bucket())
    results = await asyncio.gather(
        *(store.call("write_file", path="new/race.txt", content=f"writer {n}") for n in range(12))
    )
    winners = [n for n, result in enumerate(results) if not result["isError"]]
    assert len(winners) == 1
    assert store.tree()["new/race.txt"] == f"writer {winners[0]}".encode()
    assert {result["_meta"]["isthmus/error"] for result in results if result["isError"]} == {"conflict"}


async def test_a_folder_is_made_with_a_marker_that_is_never_shown_as_a_file(moto: Endpoint) -> None:
    place = moto.bucket("some/where/")
    store = Store.at(place)
    assert await store.ask("create_folder", path="x/y/z") == {"path": "x/y/z", "done": "created"}
    assert await store.ask("create_folder", path="x/y/z/") == {"path": "x/y/z", "done": "nothing"}
    assert await store.ask("create_folder", path="") == {"path": "", "done": "nothing"}
    assert place.paths() == ["x/y/z/"]
    assert await store.listed(recursive=True) == ["x/", "x/y/", "x/y/z/"]
    assert await store.listed(path="x/y/z") == []
    await store.ask("write_file", path="a.txt", content="x")
    assert (await store.refused("create_folder", path="a.txt"))[0] == "conflict"
    assert (await store.refused("create_folder", path="a.txt/b"))[1] == (
        "a.txt is not a folder, so nothing can be put into it."
    )
    assert (await store.ask("delete_file", path="x", recursive=True))["entries"] == 3
    assert place.paths() == ["a.txt"]


async def test_where_markers_are_not_kept_an_empty_folder_is_refused_and_nothing_stays(rclone: Endpoint) -> None:
    store = Store.at(rclone.bucket())
    for _ in range(2):
        assert (await store.refused("create_folder", path="x/y"))[1] == (
            "The store reports keeps no empty folders; write a file into x/y and it is there."
        )
        assert store.tree() == {}
    await store.ask("write_file", path="x/y/a.txt", content="x")
    assert await store.ask("create_folder", path="x/y") == {"path": "x/y", "done": "nothing"}


async def test_a_folder_or_a_file_is_never_replaced_by_the_other(place: Place) -> None:
    place.fill({"a.txt": "a", "folder/b.txt": "b"})
    store = Store.at(place)
    for mode in ("create", "overwrite"):
        assert (await store.refused("write_file", path="folder", content="x", mode=mode))[0] == "conflict"
        assert (await store.refused("write_file", path="a.txt/b/c", content="x", mode=mode))[1] == (
            "a.txt is not a folder, so nothing can be put into it."
        )
    assert store.tree() == {"a.txt": b"a", "folder": None, "folder/b.txt": b"b"}


async def test_keys_that_no_path_can_name_are_not_there_and_lead_nowhere(moto: Endpoint) -> None:
    place = moto.bucket("inside/")
    place.fill({"a/b.txt": "b", "a/x\\y": "x", "a\\b": "x", ".isthmus/s": "x", "l" * 300: "x"})
    place.fill({"z/last.txt": "z"})
    store = Store.at(place)
    assert await store.listed(recursive=True) == ["a/", "a/b.txt", "z/", "z/last.txt"]
    assert await store.listed() == ["a/", "z/"]
    assert await store.listed(path="a") == ["a/b.txt"]
    assert (await store.ask("delete_file", path="a", recursive=True))["entries"] == 3
    assert "a/x\\y" not in place.paths()


async def test_no_path_leaves_the_prefix(moto: Endpoint) -> None:
    place = moto.bucket("inside/")
    place.client.put_object(place.bucket, "outside.txt", io.BytesIO(b"secret"), 6)
    place.client.put_object(place.bucket, "inside2/a.txt", io.BytesIO(b"secret"), 6)
    store = Store.at(place)
    assert await store.listed(recursive=True) == []
    for path in ("../outside.txt", "..", "/outside.txt", "x/../../outside.txt", "%2e%2e/outside.txt", "outside.txt"):
        for tool in ("read_file", "delete_file"):
            assert (await store.refused(tool, path=path))[0] in ("not_found", "invalid_arguments")
    assert len(list(place.client.list_objects(place.bucket, recursive=True))) == 2


async def test_an_object_and_a_folder_of_one_path_are_both_listed_and_the_object_is_meant(moto: Endpoint) -> None:
    place = moto.bucket()
    place.fill({"a": "the object", "a/b.txt": "b"})
    store = Store.at(place)
    assert await store.listed(recursive=True) == ["a", "a/", "a/b.txt"]
    assert (await store.ask("read_file", path="a"))["content"] == "the object"
    assert (await store.ask("read_file", path="a/b.txt"))["content"] == "b"
    assert (await store.ask("delete_file", path="a", recursive=True))["entries"] == 1
    assert place.paths() == ["a/b.txt"]


@pytest.mark.parametrize("server", ["rclone", "moto"])
async def test_pages_of_the_endpoint_join_and_hidden_folders_are_passed_by(
    request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    place = endpoint.bucket()
    hidden = {f"m/{n:02}.txt": "x" for n in range(12)}
    place.fill({"a/1.txt": "x", "a-1": "x", **hidden, "z/1.txt": "x", "z/2.txt": "x"})
    store = Store.at(place)
    asked: list[str] = []
    page = s3.Client.page

    def small(self: s3.Client, prefix: str, after: str, token: str, path: str, *, cut: bool, size: int = 2) -> s3.Page:
        asked.append(prefix)
        return page(self, prefix, after, token, path, cut=cut, size=size)

    monkeypatch.setattr(s3.Client, "page", small)
    assert await store.listed(recursive=True) == store.ordered()
    assert await store.listed() == ["a-1", "a/", "m/", "z/"]
    caller = store.granted("a/**", "z/**")
    asked.clear()
    assert await caller.listed(recursive=True) == ["a/", "a/1.txt", "z/", "z/1.txt", "z/2.txt"]
    assert len(asked) < 6
    assert (await store.ask("delete_file", path="m", recursive=True))["entries"] == 13
    assert not [key for key in place.paths() if key.startswith("m/")]


@contextmanager
def counting(endpoint: Endpoint) -> Generator[tuple[int, list[int]]]:
    """A port in front of an endpoint, and the bytes of all its answers so far, for each connection."""
    answers: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def copy(source: socket.socket, target: socket.socket, count: int | None) -> None:
            with source, target:
                while data := source.recv(65536):
                    if count is not None:
                        answers[count] += len(data)
                    target.sendall(data)

        def quietly(source: socket.socket, target: socket.socket, count: int | None) -> None:
            try:
                copy(source, target, count)
            except OSError:
                return

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", endpoint.port))
                answers.append(0)
                for pair in ((client, server, None), (server, client, len(answers) - 1)):
                    threading.Thread(target=quietly, args=pair, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], answers
        listener.shutdown(socket.SHUT_RDWR)


async def test_the_first_lines_of_a_huge_file_take_few_bytes(rclone: Endpoint) -> None:
    place = rclone.bucket()
    place.fill({"huge.log": b"a line of the log\n" * 1_500_000})
    with counting(rclone) as (port, answers):
        url = place.settings.url.replace(str(rclone.port), str(port))
        # A signature holds for one host, and rclone reads the Host header, which is that of the port in front.
        store = Store.at(Elsewhere(place, url=url))
        first = await store.ask("read_file", path="huge.log", limit=3)
        assert first["content"].count("\n") == 3
        assert first["size"] == 27_000_000
        assert sum(answers) < 200_000
        middle = await store.ask("read_file", path="huge.log", start=20_000, limit=1)
        assert middle["next_start"] == 20_001
        assert sum(answers) < 2_000_000


async def test_an_object_that_changes_while_it_is_read_is_said_to(moto: Endpoint) -> None:
    place = moto.bucket()
    place.fill({"a.bin": b"\0" * 300_000})
    location = place.settings.location
    assert isinstance(location, BucketLocation)
    bucket = Bucket("reports", location, moto.access_key, moto.secret_key)

    def read(stop: Stop) -> bytes:
        with bucket.open_file(("a.bin",)) as file:
            place.fill({"a.bin": b"\1" * 300_000})
            return file.read(0, 300_000)

    with pytest.raises(Conflict) as caught:
        await bucket.work(read, 10)
    assert caught.value.message == "a.bin was changed by another at the same moment; look at it again."


SECRET = "not-the-secret-of-this-store"


async def test_credentials_that_are_refused_are_said_to_be_without_showing_them(
    rclone: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    place = rclone.bucket()
    place.fill({"a.txt": "a"})
    for changes in ({"secret_key": SECRET}, {"access_key": "unknown", "secret_key": SECRET}):
        store = Store.at(Elsewhere(place, **changes))
        with caplog.at_level(logging.DEBUG):
            for tool, arguments in CALLS.items():
                assert await store.refused(tool, **arguments) == (
                    "source_unavailable",
                    "The store reports does not accept the credentials of its worker.",
                )
    assert "SignatureDoesNotMatch" in caplog.text
    assert "InvalidAccessKeyId" in caplog.text
    assert SECRET not in caplog.text
    assert place.tree() == {"a.txt": b"a"}


@pytest.mark.parametrize("server", ["rclone", "moto"])
async def test_a_missing_bucket_is_said_to_be_missing(request: pytest.FixtureRequest, server: str) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    place = endpoint.bucket()
    store = Store.at(Elsewhere(place, url=f"s3://no-such-bucket?endpoint={endpoint.url}"))
    for tool, arguments in CALLS.items():
        assert await store.refused(tool, **arguments) == (
            "source_unavailable",
            "The bucket of the store reports does not exist at the moment.",
        )


async def test_an_endpoint_that_is_down_is_said_to_be(rclone: Endpoint) -> None:
    place = rclone.bucket()
    store = Store.at(Elsewhere(place, url=f"s3://reports?endpoint=http://127.0.0.1:{free_port()}"))
    for tool, arguments in CALLS.items():
        assert await store.refused(tool, **arguments) == (
            "source_unavailable",
            "The store reports cannot be reached at the moment.",
        )


async def test_an_endpoint_that_does_not_answer_is_given_up_at_the_deadline(folder: FolderPlace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"s3://reports?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        store = Store.at(Elsewhere(folder, path="", url=url))
        for tool, arguments in CALLS.items():
            began = time.monotonic()
            result = await store.call(tool, seconds=0.3, **arguments)
            assert result["_meta"]["isthmus/error"] in ("deadline_exceeded", "source_unavailable")
            assert "127.0.0.1" not in str(result)
            assert time.monotonic() - began < 1


def test_the_target_of_a_bucket_has_no_credentials() -> None:
    settings = StoreSettings(
        url="s3://reports/2026/ü?endpoint=https://S3.internal:9000&region=eu-central-1",
        access_key="the-key",
        secret_key=SECRET,
    )
    location = settings.location
    assert isinstance(location, BucketLocation)
    assert location.target == "https://s3.internal:9000/reports/2026/%C3%BC/"
