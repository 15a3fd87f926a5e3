"""Buckets of calls: how they empty and fill, and that they are bounded."""

import pytest

from isthmus.errors import RateLimited
from isthmus_mcp_gateway import rates
from isthmus_mcp_gateway.rates import Rates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("isthmus_mcp_gateway.rates.time.monotonic", lambda: now[0])
    return now


def allowed(limits: Rates, user: str, per_minute: int) -> bool:
    try:
        limits.take(user, per_minute)
    except RateLimited:
        return False
    return True


def test_a_minute_s_calls_may_come_at_once_and_then_one_after_the_other(clock: list[float]) -> None:
    limits = Rates()
    assert [allowed(limits, "ann", 60) for _ in range(61)] == [True] * 60 + [False]
    assert allowed(limits, "bob", 60)
    clock[0] += 0.9
    assert not allowed(limits, "ann", 60)
    clock[0] += 0.2
    assert allowed(limits, "ann", 60)
    assert not allowed(limits, "ann", 60)
    clock[0] += 3600
    assert [allowed(limits, "ann", 60) for _ in range(61)] == [True] * 60 + [False]


def test_the_sentence_says_when(clock: list[float]) -> None:
    limits = Rates()
    limits.take("ann", 1)
    with pytest.raises(RateLimited, match="You may make 1 call a minute; try again in 60 seconds"):
        limits.take("ann", 1)
    clock[0] += 59.5
    with pytest.raises(RateLimited, match=r"try again in 1 second\."):
        limits.take("ann", 1)


def test_a_limit_that_was_lowered_counts_at_once(clock: list[float]) -> None:
    limits = Rates()
    limits.take("ann", 1000)
    assert [allowed(limits, "ann", 2) for _ in range(3)] == [True, True, False]


def test_users_are_forgotten_beyond_a_bound(clock: list[float]) -> None:
    limits = Rates()
    for number in range(rates.REMEMBERED + 5):
        limits.take(str(number), 1)
    assert allowed(limits, "0", 1)
    assert not allowed(limits, str(rates.REMEMBERED + 4), 1)
