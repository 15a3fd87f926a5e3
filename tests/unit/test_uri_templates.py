"""URIs against templates: whatever either of them is, there is one owner or none, and never an exception."""

import string

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from isthmus.definitions import ResourceDefinition
from isthmus_mcp_gateway import resources
from isthmus_mcp_gateway.catalog import CatalogEntry, CatalogResource

ANYTHING = st.text(st.characters(), max_size=60)
PIECES = st.sampled_from(
    [
        "notes:",
        "db:",
        "//",
        "/",
        "{a}",
        "{+b}",
        "{/c*}",
        "{?d,e}",
        "{.f}",
        "{#g}",
        "{",
        "}",
        "%2F",
        "%",
        "x",
        "é",
        "..",
        " ",
    ]
)
SHAPED = st.lists(PIECES, max_size=8).map("".join)
NAME = st.text(string.ascii_lowercase, min_size=1, max_size=8)


def resource(template: str, kind: str = "db", sources: tuple[str, ...] = ("home",)) -> CatalogResource:
    definition = ResourceDefinition(
        name="r",
        title="",
        description="",
        scope="",
        actions=(),
        sources={"database": kind} if "{database}" in template else {},
        uri_template=template,
    )
    return CatalogEntry(definition, kind, sources)


@given(uri=ANYTHING | SHAPED, templates=st.lists(ANYTHING | SHAPED, max_size=5))
def test_no_uri_and_no_template_breaks_the_look_up(uri: str, templates: list[str]) -> None:
    found = resources.find(uri, [resource(template) for template in templates])
    if found is not None:
        entry, variables = found
        assert entry.definition.uri_template in templates
        assert all(isinstance(value, str) for value in variables.values())


@given(database=NAME, note=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_what_a_template_makes_leads_back_to_it(database: str, note: str) -> None:
    notes = resource("notes://{database}/{note}")
    template = resources.parse("notes://{database}/{note}")
    assert template is not None
    found = resources.find(template.expand({"database": database, "note": note}), [notes])
    assert found == (notes, {"database": database, "note": note})


@given(uri=SHAPED, hostile=st.lists(SHAPED | ANYTHING, max_size=5))
def test_a_uri_of_a_built_in_worker_stays_its_own(uri: str, hostile: list[str]) -> None:
    own = [resource("notes://{database}/{+note}"), resource("db:x{+rest}")]
    mine = resources.find(uri, own)
    foreign = [resource(template, "zzz") for template in hostile]
    assert mine is None or resources.find(uri, [*foreign, *own]) == mine


@given(uri=SHAPED, templates=st.lists(SHAPED, min_size=2, max_size=5, unique=True))
def test_the_order_of_templates_does_not_matter(uri: str, templates: list[str]) -> None:
    offered = [resource(template) for template in templates]
    assert resources.find(uri, offered) == resources.find(uri, offered[::-1])


def test_the_template_with_more_of_the_uri_in_it_comes_first() -> None:
    offered = [resource(t) for t in ("a:{+x}", "a:b/{x}/{y}", "a:b/{x}/d", "a:b/c/d")]
    expected = {"a:b/c/d": "a:b/c/d", "a:b/x/d": "a:b/{x}/d", "a:b/x/y": "a:b/{x}/{y}", "a:q": "a:{+x}"}
    for uri, template in expected.items():
        found = resources.find(uri, offered)
        assert found is not None
        assert found[0].definition.uri_template == template


def test_a_long_uri_belongs_to_nothing() -> None:
    assert resources.find("a:" + "x" * resources.LONGEST, [resource("a:{+x}")]) is None


def test_variables_go_to_the_worker_as_json() -> None:
    found = resources.find("a:é%00%F0%9F%98%80", [resource("a:{x}")])
    assert found is not None
    assert msgspec.json.decode(msgspec.json.encode(found[1])) == {"x": "é\x00😀"}
