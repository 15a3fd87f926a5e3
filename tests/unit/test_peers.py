"""Which gateway a request belongs to."""

import pytest

from isthmus import subjects
from isthmus.errors import ConfigurationError
from isthmus.worker import Worker
from isthmus_mcp_gateway.peers import new_id, owner_of

OWNER = "0123456789ab"


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        ({"mcp-session-id": f"{OWNER}.f00"}, OWNER),
        ({"mcp-session-id": f"{OWNER}.f00", "mcp-protocol-version": "2025-11-25"}, OWNER),
        ({"mcp-session-id": f"{OWNER}.f00", "mcp-protocol-version": "2026-07-28"}, None),
        ({"mcp-method": "tasks/get", "mcp-name": f"{OWNER}.f00", "mcp-protocol-version": "2026-07-28"}, OWNER),
        ({"mcp-method": "tasks/get", "mcp-name": f"{OWNER}.f00", "mcp-protocol-version": "2025-11-25"}, None),
        ({"mcp-method": "tools/call", "mcp-name": f"{OWNER}.f00", "mcp-protocol-version": "2026-07-28"}, None),
        ({"mcp-method": "tasks/get", "mcp-protocol-version": "2026-07-28"}, None),
        ({"mcp-session-id": "f00"}, None),
        ({}, None),
    ],
)
def test_a_session_or_task_belongs_to_the_gateway_that_its_id_begins_with(
    headers: dict[str, str], owner: str | None
) -> None:
    assert owner_of([(name.encode(), value.encode()) for name, value in headers.items()]) == owner


@pytest.mark.parametrize(
    "session",
    ["*.x", ">.x", "0123456789a*.x", "0123.4567.89ab", f"{OWNER}", f"{OWNER}.", "0123456789AB.x", f".{OWNER}.x"],
)
def test_nothing_but_the_id_of_a_gateway_becomes_part_of_a_subject(session: str) -> None:
    assert owner_of([(b"mcp-session-id", session.encode())]) is None


def test_of_two_headers_the_first_counts_as_it_does_for_the_sdk() -> None:
    first, second = new_id(), new_id()
    headers = [(b"mcp-session-id", f"{name}.x".encode()) for name in (first, second)]
    assert owner_of(headers) == first


@pytest.mark.parametrize("kind", ["peer", "srv"])
def test_no_kind_of_worker_may_be_named_like_a_part_of_the_gateways_inboxes(kind: str) -> None:
    assert not subjects.is_kind(kind)
    assert subjects.is_kind(kind + "s")
    with pytest.raises(ConfigurationError):
        Worker[None](kind, argument="database")
