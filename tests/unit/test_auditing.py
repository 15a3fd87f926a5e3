"""What a call has written, on its way from the worker to the gateway: small, in ASCII, and true."""

import json
import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from isthmus.auditing import AUDIT_HEADER, MOST_BYTES, MOST_KEYS, MOST_WRITTEN, Report, Trail, Written, read


def told(*written: Written) -> Report:
    """What the gateway reads of a call that wrote this."""
    trail = Trail()
    for entry in written:
        trail.add(entry)
    headers = trail.headers()
    assert len(headers[AUDIT_HEADER]) <= MOST_BYTES
    assert headers[AUDIT_HEADER].isascii()
    assert "\n" not in headers[AUDIT_HEADER]
    report = read(headers)
    assert report is not None
    return report


def test_a_call_that_wrote_nothing_has_no_header() -> None:
    trail = Trail()
    assert not trail
    assert trail.headers() == {}
    assert trail.size == 0
    assert read({}) is None


def test_what_was_written_arrives_as_it_was_said() -> None:
    orders = Written(object="crm.orders", action="create", count=2, keys=(7, ["pen", "DE"]), plan="p1")
    lines = Written(object="zeilen/größe\n.md", action="create", keys=("日本",))
    assert told(orders, lines) == Report(written=(orders, lines))


def test_what_is_said_of_one_object_is_added_up() -> None:
    said = [Written(object="orders", action="update", keys=(number,)) for number in range(3)]
    assert told(*said) == Report(written=(Written(object="orders", action="update", count=3, keys=(0, 1, 2)),))


def test_of_many_keys_the_first_hundred_are_kept_and_the_count_stays_true() -> None:
    (at_once,) = told(Written(object="orders", action="delete", count=5000, keys=tuple(range(5000)))).written
    assert (at_once.count, at_once.keys) == (5000, tuple(range(MOST_KEYS)))
    (one_by_one,) = told(*(Written(object="orders", action="delete", keys=(n,)) for n in range(5000))).written
    assert one_by_one == at_once


def test_long_keys_are_cut_to_fit_and_the_count_stays_true() -> None:
    keys = tuple(f"{number}-{'ß' * 200}" for number in range(90))
    entry, other = told(
        Written(object="orders", action="create", count=90, keys=keys), Written(object="lines", action="create")
    ).written
    assert (entry.count, other.object) == (90, "lines")
    assert 0 < len(entry.keys) < 90
    assert entry.keys == keys[: len(entry.keys)]


def test_objects_that_do_not_fit_are_counted() -> None:
    many = told(*(Written(object=f"t{number}", action="create") for number in range(MOST_WRITTEN + 7)))
    assert (len(many.written), many.left_out) == (MOST_WRITTEN, 7)
    long = told(*(Written(object=f"{number}{'x' * 4000}", action="create", keys=(1,)) for number in range(10)))
    assert 0 < len(long.written) < 10
    assert len(long.written) + long.left_out == 10


@pytest.mark.parametrize(
    ("key", "told_as"),
    [
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (b"\x00", "AA=="),
        (complex(1, 2), "(1+2j)"),
        (2**63, 2**63),
    ],
)
def test_a_key_of_any_type_is_told(key: Any, told_as: object) -> None:
    (entry,) = told(Written(object="orders", action="create", keys=(key,))).written
    assert entry.keys == (told_as,)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"written": 1}', '{"written": [{"object": "t"}]}', json.dumps({"x": "x" * MOST_BYTES})]
)
def test_what_is_no_report_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        read({AUDIT_HEADER: text})


@pytest.mark.parametrize("key", [float("nan"), float("inf"), "\ud800", 10**300, {(1, 2): 3}, [[1]], "a\u2028b"])
def test_a_key_that_is_none_becomes_text_and_loses_no_report(key: Any) -> None:
    trail = Trail()
    trail.add(Written(object="things", action="create", keys=(key,)))
    report = read(trail.headers())
    assert report is not None
    assert (report.written[0].object, len(report.written[0].keys)) == ("things", 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"written":[{"object":"x","action":"y","keys":[' + "[" * 8000 + "]" * 8000 + "]}]}",
        '{"written":[{"object":"x","action":"y","count":-5}]}',
        '{"left_out":-1}',
    ],
)
def test_what_no_worker_writes_is_no_report(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        read({AUDIT_HEADER: text})
