"""Log records: a line for people, a JSON object for machines, the call that they belong to on both."""

import json
import logging
import re
import sys
from datetime import datetime

import pytest

from isthmus.errors import ConfigurationError
from isthmus.logs import CallLine, ConsoleLines, JsonLines, current_call
from isthmus.settings import BusSettings, read_settings


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("isthmus.test").makeRecord(
        "isthmus.test", logging.WARNING, __file__, 1, message, (), None, extra=extra
    )


def test_a_json_line_has_the_fields_that_machines_look_for() -> None:
    line = JsonLines("db-worker").format(record("it broke", rows=3, reason=ValueError("x")))
    found = json.loads(line)
    moment = datetime.fromisoformat(found.pop("time"))
    assert moment.utcoffset() is not None
    assert found == {
        "level": "warning",
        "service": "db-worker",
        "logger": "isthmus.test",
        "message": "it broke",
        "rows": 3,
        "reason": "x",
    }


def test_an_exception_is_part_of_the_one_line() -> None:
    broken = record("it broke")
    try:
        int("no")
    except ValueError:
        broken.exc_info = sys.exc_info()
    line = JsonLines("auth").format(broken)
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("'no'")


def test_an_extra_never_hides_a_field() -> None:
    assert json.loads(JsonLines("auth").format(record("x", service="other", level="none")))["service"] == "auth"


def test_both_forms_name_the_call() -> None:
    token = current_call.set("c1")
    try:
        assert json.loads(JsonLines("auth").format(record("x")))["call"] == "c1"
        assert ConsoleLines("auth").format(record("x")).endswith("auth WARNING x (call c1)")
    finally:
        current_call.reset(token)
    assert "call" not in json.loads(JsonLines("auth").format(record("x")))


def test_a_message_cannot_look_like_two_records() -> None:
    assert re.fullmatch(r"[\d:]{8} auth WARNING x\\n12:00:00 y", ConsoleLines("auth").format(record("x\n12:00:00 y")))


def test_the_line_about_a_call_says_how_it_went(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        CallLine().log(logging.getLogger("isthmus.test"), logging.INFO, "say", "db.shop", "busy", principal="ann")
        CallLine().log(logging.getLogger("isthmus.test"), logging.DEBUG, "say", "db.shop", "ok")
    (line,) = caplog.records
    assert re.fullmatch(r"say on db\.shop: busy, [\d.]+ ms", line.getMessage())
    found = json.loads(JsonLines("gateway").format(line))
    assert (found["tool"], found["source"], found["outcome"], found["principal"]) == ("say", "db.shop", "busy", "ann")


def test_a_form_or_level_that_there_is_not_is_refused() -> None:
    assert read_settings(BusSettings, {"ISTHMUS_LOG_FORMAT": "json"}).log_format == "json"
    for name, value in (("ISTHMUS_LOG_FORMAT", "xml"), ("ISTHMUS_LOG_LEVEL", "loud")):
        with pytest.raises(ConfigurationError, match=name):
            read_settings(BusSettings, {name: value})
