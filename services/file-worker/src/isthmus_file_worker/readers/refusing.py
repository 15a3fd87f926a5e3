"""The one exception of readers: it says why a file cannot be read, or not so."""

from collections.abc import Sequence

from isthmus_file_worker.readers.messages import Refusal

KNOWN = 200
"""Names that are said to be there, at most."""


class Refused(Exception):
    """A reader's way to say no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def broken(detail: str) -> Refused:
    """The file is not what it looks like; `detail` is for the log."""
    return Refused(Refusal(code="broken", detail=detail))


def protected() -> Refused:
    """The file wants a password."""
    return Refused(Refusal(code="protected"))


def too_large(message: str) -> Refused:
    """Something in the file is larger than a reader takes."""
    return Refused(Refusal(code="too_large", message=message))


def nothing_there(message: str) -> Refused:
    """The file ends before what was asked for."""
    return Refused(Refusal(code="not_found", message=message))


def unknown(message: str, wrong: str, known: Sequence[str]) -> Refused:
    """A column or sheet that is not there; the worker says which ones are near."""
    names = [name[:100] for name in known[:KNOWN]]
    return Refused(Refusal(code="invalid_arguments", message=message, wrong=wrong, known=names))
