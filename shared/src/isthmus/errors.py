"""The one catalogue of errors. A code is stable and never used again for something else.

A class's docstring is its default message. Every message is one sentence that is safe to show to anybody and that a
model can act on: no paths, addresses, credentials or exception names.
"""

import difflib
import inspect
from collections.abc import Iterable
from typing import ClassVar


class IsthmusError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    """The HTTP status that this is nearest to; ADR-32 puts it in the header `Nats-Service-Error-Code`."""

    def __init__(self, message: str = "") -> None:
        self.message = message or inspect.getdoc(type(self)) or self.code
        super().__init__(self.message)


class ConfigurationError(IsthmusError):
    """The configuration is not valid."""

    code = "configuration"


class ToolError(IsthmusError):
    """The call cannot be done as asked."""

    code = "invalid"
    status = 400


class InvalidArguments(ToolError):
    """The arguments do not fit the tool's input schema."""

    code = "invalid_arguments"


class UnknownTool(ToolError):
    """There is no tool of that name."""

    code = "unknown_tool"
    status = 404


class UnknownSource(ToolError):
    """There is no source of that name; list_sources shows what there is."""

    code = "unknown_source"
    status = 404


class NotFound(ToolError):
    """There is nothing of that name."""

    code = "not_found"
    status = 404


class NotAllowed(ToolError):
    """You may not do that here."""

    code = "not_allowed"
    status = 403


class Conflict(ToolError):
    """The data does not allow that change."""

    code = "conflict"
    status = 409


class TooLarge(ToolError):
    """That is too large for one call."""

    code = "too_large"
    status = 413


class ClientCannot(ToolError):
    """This needs something that your client does not offer."""

    code = "client_cannot"
    status = 400

    def __init__(self, message: str = "", needs: Iterable[str] = ()) -> None:
        """`needs` are the client capabilities of MCP that are missing."""
        super().__init__(message)
        self.needs = tuple(needs)


class RateLimited(ToolError):
    """You call too often; try again in a minute."""

    code = "rate_limited"
    status = 429


class SourceUnavailable(ToolError):
    """The source cannot be reached at the moment; try again later."""

    code = "source_unavailable"
    status = 503


class DeadlineExceeded(ToolError):
    """The call took longer than it may and was stopped; ask for less, or narrow the filter."""

    code = "deadline_exceeded"
    status = 504


class CallError(IsthmusError):
    """The call did not reach a worker, or its answer did not come back."""

    code = "call_failed"
    status = 502


class BadCall(CallError):
    """The worker could not read the call."""

    code = "bad_call"
    status = 400


class Busy(CallError):
    """All workers of this source are busy; try again in a moment."""

    code = "busy"
    status = 429


class WorkerFailed(CallError):
    """The worker failed on this call; its log has the reason."""

    code = "worker_failed"
    status = 500


class NoWorker(CallError):
    """No worker serves this source at the moment; try again later, or use list_sources to see what is there."""

    code = "no_worker"
    status = 503


class WorkerLost(CallError):
    """The worker stopped answering; the call can be made again."""

    code = "worker_lost"
    status = 504


class OutcomeUnknown(CallError):
    """The worker was lost during a write: outcome unknown; read the data before you try again."""

    code = "outcome_unknown"
    status = 504


CATALOGUE: dict[str, type[IsthmusError]] = {
    kind.code: kind for kind in (*ToolError.__subclasses__(), *CallError.__subclasses__(), ToolError, CallError)
}
"""Code → error, for what comes back from a worker."""


def near(wrong: str, known: Iterable[str]) -> str:
    """` Did you mean a, b?` for names like the wrong one, else the first few that there are, else nothing."""
    names = sorted(known)
    if close := difflib.get_close_matches(wrong, names, n=3, cutoff=0.5):
        return f" Did you mean {', '.join(close)}?"
    if not names:
        return ""
    if len(names) == 1:
        return f" There is only {names[0]}."
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f" There are {', '.join(names[:10])}{more}."
