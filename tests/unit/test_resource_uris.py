"""URIs of tables and files: one spelling each, which the gateway's templates read back."""

from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.uri_template import UriTemplate

from isthmus.errors import InvalidArguments
from isthmus.worker import Worker
from isthmus_db_worker.resources import database_uri, table_uri
from isthmus_db_worker.worker import create_worker
from isthmus_file_worker import paths
from isthmus_file_worker.following import file_uri, folder_uri, store_uri
from isthmus_file_worker.worker import file_worker
from isthmus_mcp_gateway.catalog import CatalogResource
from isthmus_mcp_gateway.resources import find, parse

NAMES = st.text(max_size=12) | st.sampled_from(
    [
        "a b",
        "100%",
        "%41",
        "%zz",
        "what?",
        "#1",
        "ü",
        "…",
        "日本",
        "...",
        ".hidden",
        "a+b",
        "a&b=c",
        "[id]",
        "{x}",
        "'",
        "a:b",
    ]
)


def offered(worker: Worker[object]) -> list[CatalogResource]:
    toolbox = worker._toolbox  # pyright: ignore[reportPrivateUsage]
    definitions = [resource.definition for resource in toolbox.resources.values()]
    return [CatalogResource(d, "db" if "database" in d.sources else "file", ("s",)) for d in definitions]


RESOURCES = [*offered(create_worker()), *offered(file_worker())]  # pyright: ignore[reportArgumentType]


def read_back(uri: str) -> tuple[str, dict[str, str]]:
    found = find(uri, RESOURCES)
    assert found is not None, uri
    return found[0].definition.name, found[1]


@given(
    st.lists(NAMES.filter(lambda name: "/" not in name and paths.can_be_named(name)), min_size=1, max_size=5).map(tuple)
)
def test_the_uri_of_a_file_stands_for_its_path_and_no_other(names: paths.Names) -> None:
    path = paths.show(names)
    try:
        paths.parse(path)
    except InvalidArguments:
        return  # such as C:, which no path begins with
    assert read_back(file_uri("s", names)) == ("file", {"store": "s", "path": path})
    assert read_back(folder_uri("s", names)) == ("file", {"store": "s", "path": f"{path}/"})
    assert paths.parse(f"{path}/") == names
    template = UriTemplate.parse("store://{store}/{+path}")
    escaped = path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    assert template.expand({"store": "s", "path": escaped}) == file_uri("s", names)


@given(NAMES | st.lists(NAMES, min_size=2, max_size=2).map(".".join))
def test_the_uri_of_a_table_is_what_clients_make_of_its_template(table: str) -> None:
    template = parse("database://{database}/{table}")
    assert template is not None
    try:
        table.encode()
    except UnicodeEncodeError:
        return
    assert table_uri("s", table) == template.expand({"database": "s", "table": table})
    assert read_back(table_uri("s", table)) == ("table", {"database": "s", "table": table})


def test_a_source_as_a_whole_has_a_uri_without_a_slash() -> None:
    assert read_back(database_uri("s")) == ("tables", {"database": "s"})
    assert read_back(store_uri("s")) == read_back(folder_uri("s", ())) == ("files", {"store": "s"})


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "%2e%2e", "%2F", "%00", "..%2f..", "%5c", "C:"]), max_size=6).map(
        "/".join
    )
)
def test_no_uri_stands_for_a_path_that_leads_out(path: str) -> None:
    found = find(f"store://s/{path}", RESOURCES)
    if found is None:
        return
    try:
        names = paths.parse(found[1].get("path", ""))
    except InvalidArguments:
        return
    assert not {"..", ".", ""} & {*names}
    assert all("/" not in name and "\\" not in name and "\0" not in name for name in names)
