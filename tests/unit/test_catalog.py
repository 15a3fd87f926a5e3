"""The catalog: a merge of offers that comes out the same whatever their order."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.advertising import Advertisement
from isthmus.definitions import Annotations, DefinitionSet, ResourceDefinition, ToolDefinition
from isthmus_mcp_gateway.catalog import Catalog, Offer, merge


def definition(name: str, text: str = "", scope: str = "data:read", kind: str = "db") -> ToolDefinition:
    return ToolDefinition(
        name=name,
        title=name,
        description=text,
        input_schema={"type": "object"},
        annotations=Annotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True),
        scope=scope,
        actions=("read",),
        sources={"source": kind},
    )


def offer(name: str, digest: str = "d1", target: str = "t", kind: str = "db", title: str = "") -> Offer:
    advertisement = Advertisement(
        kind=kind,
        engine="sqlite",
        title=title or name,
        description="",
        fingerprint=target,
        definitions=digest,
        access="read-only",
    )
    return Offer(name, advertisement)


SETS = {
    "d1": DefinitionSet("1.2.0", (definition("query", "old"), definition("gone"))),
    "d2": DefinitionSet("1.10.0", (definition("query", "new"),)),
    "f1": DefinitionSet("9.0.0", (definition("query", "of another kind"), definition("read"))),
}


def test_a_tool_exists_once_over_all_sources_that_have_it() -> None:
    catalog = merge([offer("b"), offer("a"), offer("a")], SETS)
    assert list(catalog.sources) == ["db.a", "db.b"]
    assert catalog.sources["db.a"].workers == 2
    assert catalog.tools["query"].sources == ("a", "b")


def test_of_two_versions_the_higher_is_shown_by_number_not_by_letter() -> None:
    catalog = merge([offer("a", "d1"), offer("b", "d2")], SETS)
    assert catalog.tools["query"].definition.description == "new"
    assert catalog.tools["query"].sources == ("a", "b")
    assert catalog.tools["gone"].sources == ("a",)


@pytest.mark.parametrize("writing", ["r1", "r2"])
def test_a_tool_that_writes_in_one_source_counts_as_one_that_writes(writing: str) -> None:
    reads = definition("call")
    writes = msgspec.structs.replace(reads, annotations=Annotations(read_only_hint=False, destructive_hint=True))
    sets = {each: DefinitionSet("1.0.0", (writes if each == writing else reads,)) for each in ("r1", "r2")}
    for order in ("ab", "ba"):
        catalog = merge([offer(order[0], "r1"), offer(order[1], "r2")], sets)
        assert catalog.tools["call"].definition.annotations == writes.annotations
        assert catalog.tools["call"].sources == ("a", "b")
    assert merge([offer("a", "r1")], {"r1": DefinitionSet("1.0.0", (reads,))}).tools["call"].definition == reads


def test_a_name_belongs_to_one_kind() -> None:
    catalog = merge([offer("a"), offer("papers", "f1", kind="file")], SETS)
    assert catalog.tools["query"].kind == "db"
    assert catalog.tools["query"].sources == ("a",)
    assert catalog.tools["read"].kind == "file"


def test_a_kind_of_its_own_takes_no_name_of_databases_and_files() -> None:
    sets = {"d1": SETS["d1"], "a1": DefinitionSet("99.0.0", (definition("query", scope="aaa:use", kind="aaa"),))}
    catalog = merge([offer("a"), offer("x", "a1", kind="aaa")], sets)
    assert catalog.tools["query"].kind == "db"


@pytest.mark.parametrize(
    ("kind", "scope"),
    [("git", "data:read"), ("git", "other:use"), ("git", "git:use offline_access"), ("db", "db:use"), ("git", '"')],
)
def test_a_tool_whose_scope_is_not_its_kinds_does_not_count(kind: str, scope: str) -> None:
    tools = definition("query", scope=scope, kind=kind), definition("own", scope="git:use", kind=kind)
    sets = {"g1": DefinitionSet("1.0.0", tools)}
    catalog = merge([offer("x", "g1", kind=kind)], sets)
    assert "query" not in catalog.tools
    assert catalog.scopes == (["git:use"] if kind == "git" else [])


def test_reserved_names_are_the_gateways_own() -> None:
    assert "query" not in merge([offer("a")], SETS, reserved={"query"}).tools


def test_one_name_with_two_targets_is_a_conflict_and_cannot_be_called() -> None:
    catalog = merge([offer("a", target="x"), offer("a", target="y"), offer("b")], SETS)
    assert catalog.sources["db.a"].problem
    assert catalog.tools["query"].sources == ("b",)


def test_a_source_whose_definitions_have_not_come_yet_is_listed_without_tools() -> None:
    catalog = merge([offer("a", "unknown")], SETS)
    assert list(catalog.sources) == ["db.a"]
    assert catalog.tools == {}


offers = st.lists(
    st.builds(
        offer,
        st.sampled_from("abc"),
        st.sampled_from(["d1", "d2"]),
        st.sampled_from("xy"),
        title=st.sampled_from("TU"),
    ),
    max_size=8,
)


@given(offers, st.randoms())
def test_the_order_of_offers_makes_no_difference(given_offers: list[Offer], random: Random) -> None:
    shuffled = list(given_offers)
    random.shuffle(shuffled)
    once, again = merge(given_offers, SETS), merge(shuffled, SETS)
    assert once == again
    assert msgspec.json.encode(once) == msgspec.json.encode(again)


def test_without_workers_there_is_nothing() -> None:
    assert merge([], SETS) == Catalog()


def resource(template: str, scope: str) -> ResourceDefinition:
    return ResourceDefinition(
        name="page", title="Page", description="", scope=scope, actions=("use",), sources={}, uri_template=template
    )


def test_a_scheme_of_uris_belongs_to_one_kind() -> None:
    sets = {
        "d": DefinitionSet("1.0.0", resources=(resource("database://{database}/{table}", "data:read"),)),
        "w": DefinitionSet(
            "1.0.0", resources=(resource("DATABASE://shop/{page}", "wiki:use"), resource("wiki:{page}", "wiki:use"))
        ),
    }
    wiki = offer("pages", "w", kind="wiki")
    catalog = merge([offer("shop", "d"), wiki], sets)
    assert list(catalog.resources) == ["database://{database}/{table}", "wiki:{page}"]
    assert list(merge([wiki], sets).resources) == ["DATABASE://shop/{page}", "wiki:{page}"]


def test_scopes_are_those_of_everything_that_is_offered() -> None:
    sets = {"w": DefinitionSet("1.0.0", resources=(resource("wiki:{page}", "wiki:use"),))}
    assert merge([offer("pages", "w", kind="wiki")], sets).scopes == ["wiki:use"]


def test_a_worker_of_another_kind_cannot_ask_for_grants_of_ours() -> None:
    tool = definition("peek", scope="wiki:use")
    greedy = msgspec.structs.replace(tool, sources={"wiki": "wiki", "database": "db"})
    modest = msgspec.structs.replace(tool, name="look", sources={"wiki": "wiki"})
    catalog = merge([offer("pages", "w", kind="wiki")], {"w": DefinitionSet("1.0.0", tools=(greedy, modest))})
    assert list(catalog.tools) == ["look"]
