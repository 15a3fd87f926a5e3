"""The ports of a local stack."""

import pytest

from isthmus.launcher import ports
from isthmus.launcher.ports import Ports, choose


def test_no_port_is_chosen_twice_when_the_usual_ones_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_: int) -> bool:
        return False

    offered = iter([50_001, 50_001, 50_002, 50_001, 50_003, 50_003, 50_004])
    monkeypatch.setattr(ports, "_any_free", lambda: next(offered))
    monkeypatch.setattr(ports, "is_free", taken)
    chosen, notes = choose(Ports())
    assert (chosen.gateway, chosen.auth, chosen.nats, chosen.nats_monitor) == (50_001, 50_002, 50_003, 50_004)
    assert notes[-1] == "Port 8222 is taken; nats monitor listens on 50004."
