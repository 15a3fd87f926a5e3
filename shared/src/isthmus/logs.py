"""Logging, set up once by each `__main__`: lines for people, or a JSON object a line for machines.

A record's fields in JSON: `time` (ISO 8601, UTC), `level`, `service`, `logger`, `message`, `call` (the id of the call
that it was logged in), `exception`, and whatever was given as `extra`.
"""

import logging
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from isthmus.settings import LogSettings

current_call: ContextVar[str] = ContextVar("current_call", default="")
"""The id of the call that this task or thread works for; every record that it logs carries it."""

_QUIET = ("alembic", "authlib", "httpcore2", "httpx2", "mcp", "nats", "uvicorn")
"""Libraries that say too much below WARNING; Authlib would say tokens."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NEW_LINES = str.maketrans({"\n": "\\n", "\r": "\\r"})


def set_up(service: str, settings: LogSettings) -> None:
    """Everything that is logged goes to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service) if settings.log_format == "json" else ConsoleLines(service))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class ConsoleLines(logging.Formatter):
    """Time, service, level, what happened, and in which call."""

    def __init__(self, service: str) -> None:
        super().__init__(f"%(asctime)s {service} %(levelname)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the name is logging's)
        """One line: what somebody else chose cannot look like another record."""
        line = super().formatMessage(record).translate(_NEW_LINES)
        call = current_call.get()
        return f"{line} (call {call})" if call else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The record with its extras."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if call := current_call.get():
            fields["call"] = call
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        return msgspec.json.encode({**extras, **fields}, enc_hook=str).decode()


class CallLine:
    """Measures one call for the line that is logged about it."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        """Since the call began."""
        return round((time.perf_counter() - self._began) * 1000, 1)

    def log(self, logger: logging.Logger, level: int, tool: str, source: str, outcome: str, **extra: str) -> None:
        """`outcome` is `ok` or a code of the error catalogue. Never say arguments, tokens or results."""
        if logger.isEnabledFor(level):
            milliseconds = self.milliseconds
            about = {"tool": tool, "source": source, "outcome": outcome, "milliseconds": milliseconds, **extra}
            place = f" on {source}" if source else ""
            logger.log(level, "%s%s: %s, %s ms", tool, place, outcome, milliseconds, extra=about)
