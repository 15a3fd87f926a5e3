"""What the catalog finds wrong, and what it says to do."""

import msgspec
import pytest

from isthmus.survey import Figures, SourceStatus
from isthmus_auth.findings import Finding, find
from isthmus_auth.topology import SeenWorker, Topology

ALL = ["**"]


def worker(
    name: str = "db-worker", instance: str = "a", version: str = "1.0.0", gone: float | None = None
) -> SeenWorker:
    return SeenWorker(name=name, id=instance, version=version, started=None, sources=[], gone_for=gone)


def source(source_id: str = "db.shop", *, conflict: bool = False, gone: bool = False, **figures: int) -> SourceStatus:
    total = msgspec.convert(figures, Figures)
    return SourceStatus(
        id=source_id,
        kind="db",
        engine="test",
        title="Shop",
        description="",
        access="read-only",
        conflict=conflict,
        total=total,
        instances={} if gone else {"a": total},
    )


BOTH = [worker(), worker("file-worker")]


def found(*sources: SourceStatus, workers: list[SeenWorker] = BOTH, granted: list[str] = ALL) -> list[Finding]:
    return find(Topology(bus=True, at=0, workers=workers, sources=list(sources)), granted, ALL)


def test_where_all_is_well_there_is_nothing_to_say() -> None:
    assert found(source(calls=100, errors=9, in_flight=3, limit=4)) == []


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (source(conflict=True), "Workers serve different targets under the name db.shop, so nobody can call it."),
        (source(gone=True), "The worker of db.shop does not answer any more."),
        (source(in_flight=4, limit=4), "db.shop is at the limit: further calls wait."),
        (
            source(calls=100, errors=10),
            "A tenth or more of the calls of db.shop failed since its workers started.",
        ),
    ],
)
def test_a_source_in_trouble_is_a_problem_with_a_sentence(one: SourceStatus, said: str) -> None:
    (finding,) = found(one, source("db.other"))
    assert (finding.state, finding.text, finding.sources) == ("problem", said, ["db.shop"])
    assert finding.cure


def test_few_errors_are_none() -> None:
    assert found(source(calls=9, errors=9)) == []


def test_a_source_that_nobody_may_use_leads_to_the_roles() -> None:
    (finding,) = found(source(), granted=["file.*"])
    assert (finding.state, finding.text, finding.page) == ("hint", "Nobody may use db.shop yet.", "/admin/roles")


def test_a_source_that_no_service_exposes_leads_to_the_services() -> None:
    seen = Topology(bus=True, at=0, workers=BOTH, sources=[source()])
    (finding,) = find(seen, ALL, ["file.*"])
    assert finding.text == "No MCP service exposes db.shop, so no client sees it."
    assert finding.page == "/admin/services"


def test_many_sources_with_one_trouble_are_one_sentence() -> None:
    (finding,) = found(*(source(f"db.s{number:03}") for number in range(150)), granted=[])
    assert finding.text == "Nobody may use db.s000, db.s001, db.s002 and 147 more yet."
    assert len(finding.sources) == 100


def test_workers_of_two_versions_are_named_with_both() -> None:
    (finding,) = found(workers=[*BOTH, worker(instance="b", version="1.1.0")])
    assert finding.text == "The workers db-worker are of different versions: 1.0.0, 1.1.0."
    assert found(workers=[*BOTH, worker(instance="b", version="1.1.0", gone=3)]) == []


def test_a_kind_whose_last_worker_is_gone_is_a_problem_and_one_that_never_was_a_hint() -> None:
    gone, never = found(workers=[worker(gone=3)])
    assert (gone.state, gone.text) == ("problem", "No db-worker answers any more.")
    assert (never.state, never.text) == (
        "hint",
        "No file-worker is on the bus, so folders and buckets cannot be used.",
    )
    assert [finding.state for finding in found(workers=[])] == ["problem", "problem"]


def test_without_the_bus_that_is_all_there_is_to_say() -> None:
    (finding,) = find(Topology(bus=False, at=0, sources=[source(conflict=True)]), [], [])
    assert (finding.about, finding.state) == ("bus", "problem")


def test_too_much_to_be_shown_is_said() -> None:
    (finding,) = find(Topology(bus=True, at=0, workers=BOTH, complete=False), ALL, ALL)
    assert finding.text == "There are more workers or sources than can be shown; some are left out."
