"""Half a minute of `make soak`: mixed calls, joins, leaves, cancellations and reconnects leave nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from soak.run import soak

SECONDS = 30


@pytest.mark.alone
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.timeout(SECONDS + 90)
async def test_after_half_a_minute_of_everything_nothing_is_left_over_nothing_grew_and_no_answer_was_wrong(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = await soak(SECONDS, tmp_path)
    record_property("summary", report)
    assert report.problems == []
