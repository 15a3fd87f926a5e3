"""Changes of files: exact, copied, moved, previewed, planned and agreed to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import urlopen

import mcp_types as types
import msgspec
import pytest

from buckets import Endpoint
from gateways import Gateway, running_gateway
from isthmus import plans
from isthmus_file_worker.worker import file_worker
from notes import ERAS, tool_names, until
from servers import NatsServer
from shelf import served
from stores import FolderPlace, Place, Store

pytest_plugins = ["store_fixtures"]


GERMAN = "Größere Übersicht über die Häuser und Gärten\nfür Bürger, schöne Grüße\n"


class Configured:
    """A place with other settings."""

    def __init__(self, place: Place, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(place.settings, **changes)
        self.fill, self.delete, self.tree = place.fill, place.delete, place.tree


@pytest.fixture
def store(place: Place) -> Store:
    place.fill({"a.txt": "one\ntwo\nthree\n", "work/one.txt": "1", "work/deep/two.txt": "22"})
    return Store.at(place)


def exact(store: Store) -> bool:
    """Whether the place can rule out that another writes at the same moment: a folder, or moto; rclone cannot."""
    url = store.place.settings.url
    return not url or "/some/where" in url


async def etag_of(store: Store, path: str) -> str:
    """By a change that changes nothing."""
    return (await store.ask("write_file", path=path, content="", mode="append"))["etag"]


async def test_something_is_appended_to_a_file_or_begins_one(store: Store) -> None:
    answer = await store.ask("write_file", path="a.txt", content="four\n", mode="append")
    assert (answer["done"], answer["size"]) == ("appended", 19)
    assert store.tree()["a.txt"] == b"one\ntwo\nthree\nfour\n"
    assert (await store.ask("write_file", path="new/log", content="x", mode="append"))["done"] == "created"
    assert store.tree()["new/log"] == b"x"
    editor = store.granted("a.txt", actions=("update",))
    assert (await editor.ask("write_file", path="a.txt", content="", mode="append"))["done"] == "appended"
    assert (await editor.refused("write_file", path="new/log2", content="", mode="append"))[0] == "not_allowed"


async def test_no_line_is_lost_when_many_append_at_once(store: Store) -> None:
    if not exact(store):
        pytest.skip("this endpoint knows no conditional writes")

    async def append(n: int) -> None:
        while (await store.call("write_file", path="a.txt", content=f"line {n}\n", mode="append"))["isError"]:
            pass

    await asyncio.gather(*(append(n) for n in range(8)))
    text = store.tree()["a.txt"]
    assert text is not None
    assert sorted(text.decode().splitlines()[3:]) == sorted(f"line {n}" for n in range(8))


async def test_a_file_that_is_another_one_than_the_caller_knows_is_not_replaced(store: Store) -> None:
    etag = await etag_of(store, "a.txt")
    store.fill({"a.txt": "changed\n"})
    code, sentence = await store.refused("write_file", path="a.txt", content="x", mode="overwrite", if_match=etag)
    assert (code, sentence[:36]) == ("conflict", "a.txt was changed since you looked: ")
    now = sentence.split()[9]
    answer = await store.ask("write_file", path="a.txt", content="mine", mode="overwrite", if_match=now)
    assert answer.get("guaranteed", True) is exact(store)
    assert answer["etag"] not in (etag, now)
    assert store.tree()["a.txt"] == b"mine"
    store.place.delete("a.txt")
    assert await store.refused("write_file", path="a.txt", content="x", mode="overwrite", if_match=now) == (
        "conflict",
        "a.txt is not there any more.",
    )
    assert (await store.refused("write_file", path="a.txt", content="x", if_match=now))[0] == "invalid_arguments"
    assert "a.txt" not in store.tree()


async def test_of_many_that_replace_the_same_version_one_does(store: Store) -> None:
    if not exact(store):
        pytest.skip("this endpoint knows no conditional writes")
    etag = await etag_of(store, "a.txt")
    results = await asyncio.gather(
        *(
            store.call("write_file", path="a.txt", content=f"writer {n}", mode="overwrite", if_match=etag)
            for n in range(8)
        )
    )
    winners = [n for n, result in enumerate(results) if not result["isError"]]
    assert len(winners) == 1
    assert store.tree()["a.txt"] == f"writer {winners[0]}".encode()
    assert {result["_meta"]["isthmus/error"] for result in results if result["isError"]} == {"conflict"}


async def test_the_look_at_what_an_endpoint_can_leaves_nothing_behind(store: Store) -> None:
    before = store.tree()
    await etag_of(store, "a.txt")
    assert store.tree() == before


async def test_an_edit_replaces_exact_text_and_answers_the_difference(store: Store) -> None:
    edits = [{"old": "two\n", "new": "2\n"}, {"old": "2\nthree", "new": "2\n3"}]
    result = await store.call("edit_file", path="a.txt", edits=edits)
    assert result["structuredContent"]["diff"].splitlines() == [
        "--- a.txt", "+++ a.txt", "@@ -1,3 +1,3 @@", " one", "-two", "-three", "+2", "+3",
    ]  # fmt: skip
    assert result["content"][0]["text"].startswith("Edited a.txt, 8 bytes.\n")
    assert store.tree()["a.txt"] == b"one\n2\n3\n"


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        (
            [{"old": "two", "new": "2"}, {"old": "two", "new": "3"}],
            "`old` of edits[1] is not in a.txt; nothing was changed, read the file again.",
        ),
        (
            [{"old": "t", "new": "T"}],
            "`old` of edits[0] is 2 times in a.txt; nothing was changed, give more of what is around it.",
        ),
    ],
)
async def test_an_edit_that_is_not_exact_changes_nothing(
    folder: FolderPlace, edits: list[dict[str, str]], sentence: str
) -> None:
    folder.fill({"a.txt": "one\ntwo\nthree\n"})
    store = Store.at(folder)
    assert await store.refused("edit_file", path="a.txt", edits=edits) == ("invalid_arguments", sentence)
    assert store.tree() == {"a.txt": b"one\ntwo\nthree\n"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_an_edit_keeps_the_encoding_and_the_ends_of_lines(folder: FolderPlace, encoding: str, end: str) -> None:
    text = end.join(["Größere Übersicht über die Häuser und Gärten", "für alle Bürger", "schöne Grüße", ""] * 5)
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    store = Store.at(folder)
    store.fill({"a.txt": (mark + text + "Ende" + end).encode(encoding)})
    await store.ask("edit_file", path="a.txt", edits=[{"old": "\nEnde\n", "new": "\nSchluß\nfertig\n"}])
    assert store.tree()["a.txt"] == (mark + text + f"Schluß{end}fertig{end}").encode(encoding)


async def test_what_is_no_text_is_not_edited(folder: FolderPlace) -> None:
    store = Store.at(folder)
    store.fill({"a.bin": bytes(range(256)), "c.txt": (GERMAN + "one: a").encode("cp1252"), "x/y": ""})
    for path, new in (("a.bin", "b"), ("c.txt", "€ 漢")):
        code, _ = await store.refused(
            "edit_file", path=path, edits=[{"old": "a" if path == "a.bin" else "x", "new": new}]
        )
        assert code == "invalid_arguments"
    assert (await store.refused("edit_file", path="x", edits=[{"old": "a", "new": "b"}]))[1] == "x is a folder."
    assert (await store.refused("edit_file", path="none", edits=[{"old": "a", "new": "b"}]))[0] == "not_found"


async def test_an_edit_takes_the_rights_to_read_and_to_change(store: Store) -> None:
    edits = [{"old": "two", "new": "2"}]
    for caller, code in (
        (store.granted("**", actions=("read",)), "not_allowed"),
        (store.granted("**", actions=("update",)), "not_found"),
    ):
        assert (await caller.refused("edit_file", path="a.txt", edits=edits))[0] == code
    await store.granted("**", actions=("read", "update")).ask("edit_file", path="a.txt", edits=edits)


async def test_a_file_is_copied_and_moved_to_where_nothing_is(store: Store) -> None:
    assert await store.ask("copy_file", path="a.txt", to_path="new/b.txt") == {
        "path": "a.txt", "done": "copied", "to_path": "new/b.txt", "entries": 1,
    }  # fmt: skip
    result = await store.call("move_file", path="work/one.txt", to_path="new/c.txt")
    assert result["content"][0]["text"] == "Moved work/one.txt to new/c.txt."
    files = {path: data for path, data in store.tree().items() if data is not None}
    assert files == {
        "a.txt": b"one\ntwo\nthree\n",
        "new/b.txt": b"one\ntwo\nthree\n",
        "new/c.txt": b"1",
        "work/deep/two.txt": b"22",
    }
    for tool in ("copy_file", "move_file"):
        for to in ("new/b.txt", "work", "a.txt"):
            code = (await store.refused(tool, path="a.txt", to_path=to))[0]
            assert code == ("invalid_arguments" if to == "a.txt" else "conflict")
        assert (await store.refused(tool, path="none", to_path="x"))[0] == "not_found"
        assert (await store.refused(tool, path="a.txt", to_path="new/b.txt/c"))[0] == "conflict"
    assert {path: data for path, data in store.tree().items() if data is not None} == files


async def test_a_folder_is_copied_and_moved_with_all_that_is_in_it(store: Store) -> None:
    for tool in ("copy_file", "move_file"):
        assert (await store.refused(tool, path="work", to_path="x"))[0] == "conflict"
        assert (await store.refused(tool, path="work", to_path="work/deep/x", recursive=True))[0] == "invalid_arguments"
    assert (await store.ask("copy_file", path="work", to_path="copy", recursive=True))["entries"] == 4
    assert (await store.ask("move_file", path="work", to_path="far/away", recursive=True))["entries"] == 4
    files = {path: data for path, data in store.tree().items() if data is not None}
    assert files == {
        "a.txt": b"one\ntwo\nthree\n",
        "copy/deep/two.txt": b"22",
        "copy/one.txt": b"1",
        "far/away/deep/two.txt": b"22",
        "far/away/one.txt": b"1",
    }
    assert await store.listed() == ["a.txt", "copy/", "far/"]


async def test_a_copy_has_no_links_in_it_and_a_copy_that_fails_leaves_nothing(folder: FolderPlace) -> None:
    store = Store.at(folder)
    store.fill({"work/a.txt": "a", "work/deep/b.txt": "b"})
    (store.root / "work/link").symlink_to("/etc/passwd")
    await store.ask("copy_file", path="work", to_path="copy", recursive=True)
    assert sorted(p.name for p in (store.root / "copy").rglob("*")) == ["a.txt", "b.txt", "deep"]
    before = store.tree()
    for milliseconds in range(4):
        result = await store.call(
            "copy_file", seconds=milliseconds / 10000, path="work", to_path=f"x{milliseconds}", recursive=True
        )
        if result["isError"]:
            assert store.tree() == before
        before = store.tree()


async def test_moving_and_copying_take_their_rights_on_everything(store: Store) -> None:
    reader = store.granted("**", actions=("read",))
    creator = reader.also("new/**", "new", actions=("create",))
    arguments: dict[str, Any] = {"path": "work", "to_path": "new", "recursive": True}
    assert (await reader.refused("copy_file", **arguments))[0] == "not_allowed"
    assert (await creator.refused("move_file", **arguments))[1] == (
        "You may not move work, since that takes the right to delete all that is in it."
    )
    partly = creator.also("work", "work/one.txt", actions=("delete",))
    assert (await partly.refused("move_file", **arguments))[0] == "not_allowed"
    hidden = store.granted("work", "work/one.txt", actions=("read",)).also("**", actions=("create",))
    assert (await hidden.refused("copy_file", **arguments))[0] == "not_allowed"
    assert not [path for path in store.tree() if path.startswith("new")]
    assert (await creator.ask("copy_file", **arguments))["entries"] == 4
    assert (await creator.refused("copy_file", path="a.txt", to_path="other"))[1] == "You may not create other."


CHANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("write_file", {"path": "new.txt", "content": "x"}, ["create new.txt, 1 bytes"]),
    (
        "write_file",
        {"path": "a.txt", "content": "x", "mode": "overwrite"},
        [
            "replace a.txt, 14 bytes, by 1 bytes",
            "--- a.txt",
            "+++ a.txt",
            "@@ -1,3 +1 @@",
            "-one",
            "-two",
            "-three",
            "+x",
        ],
    ),
    ("write_file", {"path": "a.txt", "content": "x", "mode": "append"}, ["append 1 bytes to a.txt, which has 14"]),
    (
        "edit_file",
        {"path": "a.txt", "edits": [{"old": "two\n", "new": ""}]},
        ["change a.txt:", "--- a.txt", "+++ a.txt", "@@ -1,3 +1,2 @@", " one", "-two", " three"],
    ),
    ("copy_file", {"path": "a.txt", "to_path": "b.txt"}, ["copy a.txt to b.txt, 14 bytes"]),
    ("move_file", {"path": "a.txt", "to_path": "b.txt"}, ["move a.txt to b.txt, 14 bytes"]),
    ("delete_file", {"path": "a.txt"}, ["delete a.txt, 14 bytes"]),
    (
        "delete_file",
        {"path": "work", "recursive": True},
        ["delete work with 3 entries, 3 bytes", "work/", "work/deep/", "work/deep/two.txt", "work/one.txt"],
    ),
    ("create_folder", {"path": "work"}, []),
]


@pytest.mark.parametrize(("tool", "arguments", "lines"), CHANGES)
async def test_a_preview_says_what_would_be_done_and_its_plan_does_it(
    store: Store, tool: str, arguments: dict[str, Any], lines: list[str]
) -> None:
    before = store.tree()
    shown = await store.ask(tool, preview=True, **arguments)
    assert store.tree() == before
    if not lines:
        assert shown == {"path": "work", "done": "nothing"}
        return
    said = [line for change in shown["preview"]["changes"] for line in change.splitlines()]
    assert [said[0], *sorted(said[1:])] == [lines[0], *sorted(lines[1:])]
    plan = shown["preview"]["plan"]
    assert (await store.refused(tool, preview=True, plan=plan, **arguments))[0] == "invalid_arguments"
    assert (await store.ask(tool, plan=plan, **arguments))["done"] != "nothing"
    assert store.tree() != before


@pytest.mark.parametrize(("tool", "arguments", "lines"), [change for change in CHANGES if change[2]])
async def test_a_plan_fails_when_what_it_is_about_has_changed(
    store: Store, tool: str, arguments: dict[str, Any], lines: list[str]
) -> None:
    plan = (await store.ask(tool, preview=True, **arguments))["preview"]["plan"]
    new = {"new.txt": "mine"} if arguments["path"] == "new.txt" else {"a.txt": "one\ntwo\nthree\n\n", "work/3": "3"}
    store.fill({**new})
    before = store.tree()
    code, sentence = await store.refused(tool, plan=plan, **arguments)
    assert code == "conflict"
    assert "nothing was changed" in sentence or "is there already" in sentence
    assert store.tree() == before


async def test_a_plan_is_for_one_change_of_one_caller_for_ten_minutes(
    folder: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.at(folder)
    store.fill({"a.txt": "a", "b.txt": "b"})
    plan = (await store.ask("delete_file", preview=True, path="a.txt"))["preview"]["plan"]
    for tool, arguments in (
        ("delete_file", {"path": "b.txt"}),
        ("write_file", {"path": "a.txt", "content": "", "mode": "overwrite"}),
        ("delete_file", {"path": "a.txt", "plan": "nonsense"}),
        ("delete_file", {"path": "a.txt", "plan": plan[:-4]}),
    ):
        assert (await store.refused(tool, **{"plan": plan, **arguments}))[0] == "invalid_arguments"
    other = store.granted("**", actions=("read", "delete"))
    assert (await other.refused("delete_file", path="a.txt", plan=plan))[0] == "invalid_arguments"
    monkeypatch.setattr(plans, "SECONDS", -1)
    old = (await store.ask("delete_file", preview=True, path="a.txt"))["preview"]["plan"]
    assert await store.refused("delete_file", path="a.txt", plan=old) == (
        "conflict",
        "This plan is too old; nothing was changed. Preview the change again.",
    )
    assert set(store.tree()) == {"a.txt", "b.txt"}


async def test_a_store_that_wants_previews_changes_nothing_without_a_plan(folder: FolderPlace) -> None:
    store = Store.at(Configured(folder, writes="preview"))
    arguments: dict[str, Any] = {"path": "deep/a.txt", "content": "x"}
    shown = await store.ask("write_file", **arguments)
    assert store.tree() == {}
    await store.ask("write_file", plan=shown["preview"]["plan"], **arguments)
    assert store.tree() == {"deep": None, "deep/a.txt": b"x"}


async def test_what_a_plan_did_goes_on_record_with_it(folder: FolderPlace) -> None:
    store = Store.at(folder)
    store.fill({"a.txt": "a"})
    assert await store.wrote("move_file", path="a.txt", to_path="b.txt", preview=True) == []
    assert await store.wrote("move_file", path="a.txt", to_path="b.txt") == [
        ("a.txt", "delete", 1), ("b.txt", "create", 1),
    ]  # fmt: skip
    assert await store.wrote("copy_file", path="b.txt", to_path="c.txt") == [("c.txt", "create", 1)]
    assert await store.wrote("edit_file", path="c.txt", edits=[{"old": "a", "new": "b"}]) == [("c.txt", "update", 1)]


@asynccontextmanager
async def confirming(nats: NatsServer, place: Place) -> AsyncGenerator[Gateway]:
    worker = file_worker({"reports": msgspec.structs.replace(place.settings, writes="confirm")})
    async with running_gateway(nats, call_timeout=10) as gateway, served(worker, nats, user="file_worker"):
        async with gateway.client(token=files_token(gateway)) as client:
            await until(lambda: tool_names(client), lambda found: "delete_file" in found)
        yield gateway


def files_token(gateway: Gateway) -> str:
    return gateway.authority.token(scope="files:read files:write")


@pytest.mark.parametrize("era", ERAS)
async def test_the_user_sees_what_would_go_and_decides(nats: NatsServer, folder: FolderPlace, era: str) -> None:
    folder.fill({"work/a.txt": "a", "work/b.txt": "b"})
    asked: list[str] = []
    answer: Any = "decline"

    async def user(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action=answer, content={} if answer == "accept" else None)

    arguments = {"path": "work", "recursive": True}
    async with (
        confirming(nats, folder) as gateway,
        gateway.client(era, token=files_token(gateway), elicitation_callback=user) as client,
    ):
        refused = await client.call_tool("delete_file", arguments)
        assert (refused.meta or {})["isthmus/error"] == "not_allowed"
        assert len(folder.tree()) == 3
        answer = "accept"
        done = await client.call_tool("delete_file", arguments)
        assert (done.structured_content or {})["entries"] == 3
    first = asked[0].splitlines()
    assert first[:2] == ["Allow this change in reports?", "delete work with 2 entries, 2 bytes"]
    assert sorted(first[2:]) == ["work/", "work/a.txt", "work/b.txt"]
    assert folder.tree() == {}


@pytest.mark.parametrize("server", ["rclone", "moto"])
async def test_a_link_lets_anybody_fetch_a_file_for_a_while(request: pytest.FixtureRequest, server: str) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    place = endpoint.bucket()
    place.fill({"a b/ü.txt": "shared", "b.txt": "b"})
    store = Store.at(Configured(place, share_seconds=600))
    shared = await store.ask("share_file", path="a b/ü.txt", expires_in=60)
    left = datetime.fromisoformat(shared["expires"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)

    def fetch() -> bytes:
        with urlopen(shared["url"], timeout=5) as response:  # noqa: S310  (the test's own server)
            return response.read()

    assert await asyncio.to_thread(fetch) == b"shared"
    assert await store.refused("share_file", path="b.txt", expires_in=601) == (
        "invalid_arguments",
        "Links to files of reports hold for 600 seconds at most.",
    )
    assert (await store.refused("share_file", path="a b", expires_in=60))[0] == "invalid_arguments"
    assert (await store.refused("share_file", path="none", expires_in=60))[0] == "not_found"
    assert await store.wrote("share_file", path="b.txt", expires_in=60) == [("b.txt", "share", 1)]
    caller = store.granted("b.txt", actions=("read", "share"))
    assert (await caller.refused("share_file", path="a b/ü.txt", expires_in=60))[0] == "not_found"
    reader = store.granted("**", actions=("read",)).also("other", actions=("share",))
    assert (await reader.refused("share_file", path="b.txt", expires_in=60))[1] == "You may not share b.txt."
