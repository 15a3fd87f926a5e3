"""E-mails (RFC 5322): the headers that matter, the text, and what is attached."""

import io
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

from isthmus_file_worker.readers.messages import Facts, Job, Pages
from isthmus_file_worker.readers.pages import paged, window
from isthmus_file_worker.readers.refusing import too_large
from isthmus_file_worker.readers.web import paragraphs

LARGEST = 48 * 1024 * 1024
"""Bytes of an e-mail with all that is attached."""
HEADERS = ("From", "To", "Cc", "Date", "Subject")
PARTS = 1000
"""Attachments that are named."""


def read(file: io.BufferedReader, job: Job) -> Pages:
    """The e-mail as a text, in pages of about equal length."""
    return window(paged(_lines(file, job)), job)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many pages `read` makes of it."""
    return Facts(pages=sum(1 for _ in paged(_lines(file, job))))


def _lines(file: io.BufferedReader, job: Job) -> Iterator[str]:
    if job.size > LARGEST:
        raise too_large(
            f'{job.path} has {job.size} bytes, and {LARGEST} can be read as an e-mail; encoding "utf-8" reads its '
            "source."
        )
    message = BytesParser(policy=default).parse(file)
    for name in HEADERS:
        if value := _header(message, name):
            yield f"{name}: {value}"
    body = message.get_body(("plain", "html"))
    if isinstance(body, EmailMessage):
        yield ""
        text = _text(body)
        yield from paragraphs(text) if body.get_content_subtype() == "html" else text.splitlines()
    named = [_attachment(part) for part, _ in zip(message.iter_attachments(), range(PARTS), strict=False)]
    if named:
        yield ""
        yield from named


def _header(message: EmailMessage, name: str) -> str:
    """As it was meant; as it is written where it cannot be understood."""
    try:
        value = message.get(name)
    except (ValueError, IndexError, AttributeError, LookupError, TypeError):
        value = next((raw for known, raw in message.raw_items() if known.lower() == name.lower()), None)
    return " ".join(str(value).split()) if value is not None else ""


def _text(part: EmailMessage) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return data.decode("latin-1")


def _attachment(part: EmailMessage) -> str:
    data = part.get_payload(decode=True)
    size = f", {len(data)} bytes" if isinstance(data, bytes) else ""
    return f"Attachment: {part.get_filename() or 'without a name'} ({part.get_content_type()}{size})"
