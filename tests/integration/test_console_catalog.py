"""The catalog in the admin REST API and the console: real workers, as they come, do badly and go."""

import re
import time
from collections.abc import Generator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from administrator import Administrator
from auth_server import Auth, auth_with_bus
from console import Console, shown
from isthmus.worker import Source, Worker
from isthmus_auth.console.engines import ENGINES, Engine
from isthmus_auth.topology import FRESH
from servers import NatsServer
from shelf import Shelf, make_worker, served

MARKUP = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def portal() -> Generator[BlockingPortal]:
    """Where the workers run while the tests wait for pages."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory, portal: BlockingPortal) -> Generator[Auth]:
    """With a worker of two sources, one with many, one whose words are hostile."""
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        assert server.nats is not None
        hostile = Worker[None]("notes", argument="book", version="9.9.9")
        hostile.add(Source("diary", None, engine="<b>e</b>", target="x", title=MARKUP, description=MARKUP))
        with (
            portal.wrap_async_context_manager(served(make_worker(Shelf()), server.nats)),
            portal.wrap_async_context_manager(served(many(), server.nats)),
            portal.wrap_async_context_manager(served(hostile, server.nats, user="worker")),
        ):
            yield server


@pytest.fixture(scope="module")
def nats(auth: Auth) -> NatsServer:
    assert auth.nats is not None
    return auth.nats


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


@pytest.fixture(scope="module")
def console(auth: Auth) -> Console:
    return Console(auth)


def many() -> Worker[None]:
    made = Worker[None]("db", argument="database")
    for number in range(60):
        made.add(Source(f"many_{number:02}", None, engine="test", target=f"test://{number}"))
    return made


def test_the_api_has_every_source_with_its_figures_roles_and_services(admin: Administrator) -> None:
    found = admin.done("GET", "/catalog?search=shelf")
    (source,) = found["sources"]
    assert found["bus"]
    assert (source["id"], source["engine"], source["access"]) == ("db.shelf", "test", "read-write")
    assert (source["roles"], source["services"]) == (["everything"], ["default"])
    assert source["total"]["limit"] == 4
    (instance,) = source["instances"]
    assert [worker["id"] for worker in found["workers"]] == [instance]


def test_the_api_has_one_source_with_who_may_use_it(admin: Administrator) -> None:
    use = admin.done("GET", "/catalog/db.shelf")
    assert (use["roles"][0]["id"], use["roles"][0]["actions"]) == ("everything", ["*"])
    assert use["roles"][0]["holders"]
    assert list(use["services"]) == ["default"]
    assert [worker["name"] for worker in use["workers"]] == ["db-worker"]
    assert admin.refused("GET", "/catalog/db.nowhere") == (404, "No worker serves a source of that name now.")


def test_the_api_gives_long_lists_by_pages(admin: Administrator) -> None:
    found = admin.done("GET", "/catalog?search=many&after=db.many_57")
    assert [source["id"] for source in found["sources"]] == ["db.many_58", "db.many_59"]
    assert (found["number"], found["next_after"]) == (60, None)


def test_who_is_no_administrator_learns_nothing(auth: Auth, admin: Administrator) -> None:
    assert auth.get("/api/admin/catalog").status_code == 401
    for path in ("/admin/catalog", "/admin/catalog-now", "/admin/catalog/add", "/admin/catalog/db.shelf/now"):
        answer = auth.get(path)
        assert "shelf" not in answer.text
        assert answer.status_code in (303, 401), path


def test_the_page_lists_sources_fifty_at_a_time(console: Console) -> None:
    first = console.get("/admin/catalog")
    assert "63 sources" in first
    assert "db.many_48" in first
    assert "db.many_49" not in first
    second = console.get("/admin/catalog?search=&after=db.many_48")
    assert "db.many_49" in second
    assert "notes.diary" in second
    assert 'href="/admin/catalog?search=&amp;after=' not in second


def test_the_page_is_searched(console: Console) -> None:
    page = shown(console.get("/admin/catalog?search=SHELF"))
    assert "db.shelf" in page
    assert "db.closed · " not in page
    assert "No source has “nothing-like-it”" in console.get("/admin/catalog?search=nothing-like-it")


def test_the_part_that_is_polled_is_the_part_of_the_page(console: Console) -> None:
    page = console.get("/admin/catalog?search=shelf")
    address = re.findall(r'hx-get="(/admin/catalog-now[^"]*)"', page)[0].replace("&amp;", "&")
    part = console.get(address)
    assert part.strip().startswith('<div id="list"')
    assert "<html" not in part
    assert "db.shelf" in part


def test_words_of_a_hostile_worker_are_text(console: Console) -> None:
    for path in ("/admin/catalog?search=notes.diary", "/admin/catalog/notes.diary", "/admin/catalog/notes.diary/now"):
        page = console.get(path)
        assert "<img src=x" not in page
        assert "<b>e</b>" not in page
    assert "&lt;img src=x onerror=" in console.get("/admin/catalog/notes.diary")


def test_the_page_of_a_source_says_who_may_use_it_and_leads_to_its_data(console: Console) -> None:
    page = console.get("/admin/catalog/db.shelf")
    assert 'href="/admin/roles/everything"' in page
    assert 'href="/admin/services/default"' in page
    assert 'href="/admin/browse/db.shelf?service=default"' in page
    assert "0 of 4" in shown(page)


def test_a_source_that_there_is_not_is_not_found(console: Console) -> None:
    answer = console.browser.get("/admin/catalog/db.nowhere")
    assert answer.status_code == 404
    assert "No worker serves a source of that name now." in answer.text


def test_a_page_that_is_open_says_so_when_its_source_goes(console: Console) -> None:
    part = console.get("/admin/catalog/db.nowhere/now")
    assert "No worker serves a source of that name now." in part
    assert 'hx-get="/admin/catalog/db.nowhere/now"' in part


def test_two_targets_of_one_name_are_a_conflict_until_one_of_them_goes(
    console: Console, admin: Administrator, nats: NatsServer, portal: BlockingPortal
) -> None:
    other = Worker[None]("db", argument="database", version="0.2.0")
    other.add(Source("shelf", None, engine="test", target="test://another"))
    with portal.wrap_async_context_manager(served(other, nats)):
        seen(admin, "conflict", holds=True)
        page = shown(console.get("/admin/catalog"))
        assert "Workers serve different targets under the name db.shelf, so nobody can call it." in page
        assert "The workers db-worker are of different versions: 0.1.0, 0.2.0." in page
        source = console.get("/admin/catalog/db.shelf")
        assert "Rename one of them" in source
        assert "/admin/browse/" not in source
    seen(admin, "conflict", holds=False)
    page = console.get("/admin/catalog?search=db.shelf")
    assert "different targets" not in page
    assert "gone" in shown(page)


def test_a_role_is_shown_with_what_it_grants_and_how_many_have_it(admin: Administrator, console: Console) -> None:
    grants = [{"sources": ["db.s*"], "actions": ["read"]}]
    admin.done("PUT", "/roles/shelf-readers", {"name": "Readers & co", "grants": grants})

    def role() -> dict[str, object]:
        return admin.done("GET", "/catalog/db.shelf")["roles"][1]

    assert role() == {"id": "shelf-readers", "name": "Readers & co", "actions": ["read"], "holders": 0}
    made = admin.done("POST", "/people", {"email": "ann@example.com", "roles": ["shelf-readers"]})
    assert role()["holders"] == 1
    assert "Readers &amp; co" in console.get("/admin/catalog/db.shelf")
    admin.done("PATCH", f"/people/{made['person']['id']}", {"disabled": True})
    assert role()["holders"] == 0
    assert "Readers" not in console.get("/admin/catalog/db.closed")


def test_a_source_that_no_service_exposes_leads_to_the_services(console: Console, admin: Administrator) -> None:
    admin.done("PATCH", "/services/default", {"sources": ["db.*"]})
    page = console.get("/admin/catalog/notes.diary")
    assert "No MCP service exposes it, so no client sees it." in page
    assert "/admin/browse/" not in page
    assert "No MCP service exposes notes.diary, so no client sees it." in console.get("/admin/catalog")
    admin.done("PATCH", "/services/default", {"sources": ["**"]})


@pytest.mark.parametrize("one", ENGINES.values(), ids=ENGINES)
def test_each_engine_has_what_to_paste_and_what_to_run(console: Console, one: Engine) -> None:
    page = console.get(f"/admin/catalog/add?engine={one.id}")
    assert one.configuration.splitlines()[0] in page
    assert f"--force-recreate {one.kind}-worker" in page
    assert f"python -m isthmus_{one.kind}_worker" in page
    assert "data-copy" in page


def test_while_the_bus_is_away_pages_say_so_and_show_what_was(
    console: Console, admin: Administrator, nats: NatsServer
) -> None:
    console.get("/admin/catalog")
    nats.stop()
    try:
        seen(admin, "bus", holds=False)
        page = shown(console.get("/admin/catalog?search=shelf"))
        assert "The bus is away" in page
        assert "db.shelf" in page
        assert "The bus is away" in console.get("/admin/catalog/db.shelf/now")
    finally:
        nats.start()
    seen(admin, "bus", holds=True)


def seen(admin: Administrator, what: str, *, holds: bool) -> None:
    """Waits until the API says so of db.shelf."""
    end = time.monotonic() + 10
    while True:
        use = admin.done("GET", "/catalog/db.shelf")
        if (use["bus"] if what == "bus" else use["source"][what]) == holds:
            return
        assert time.monotonic() < end, f"{what} is not {holds}"
        time.sleep(FRESH / 10)
