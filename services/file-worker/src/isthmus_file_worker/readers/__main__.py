"""`python -I -m isthmus_file_worker.readers`: reads the files that the worker asks for, until it closes the pipe."""

import io
import sys
from collections.abc import Callable
from typing import Protocol

import msgspec

from isthmus_file_worker.readers.confinement import confine
from isthmus_file_worker.readers.messages import Answer, Facts, Format, Job, Refusal
from isthmus_file_worker.readers.refusing import Refused
from isthmus_file_worker.readers.remote import Channel, RemoteFile


class Module(Protocol):
    """A reader."""

    @property
    def read(self) -> Callable[[io.BufferedReader, Job], Answer]: ...
    @property
    def inspect(self) -> Callable[[io.BufferedReader, Job], Facts]: ...


def main() -> None:
    """Raises nothing for what is in a file; the worker is told."""
    confine()
    channel = Channel(sys.stdin.fileno(), sys.stdout.fileno())
    while True:
        try:
            job = msgspec.msgpack.decode(channel.receive(), type=Job)
        except EOFError:
            return
        found = answer(job, io.BufferedReader(RemoteFile(channel, job.size)))
        try:
            channel.send(found)
        except (UnicodeError, OverflowError) as error:  # a text or number that no message can have
            channel.send(Refusal(code="broken", detail=repr(error)[:300]))
        if isinstance(found, Refusal) and found.code == "memory":
            return


def answer(job: Job, file: io.BufferedReader) -> Answer:
    """What the reader of the format says; whatever goes wrong within it is the file's fault."""
    try:
        reader = module_of(job.format)
        if job.task == "inspect":
            return reader.inspect(file, job)
        return reader.read(file, job)
    except Refused as refused:
        return refused.refusal
    except MemoryError:
        return Refusal(code="memory")
    except Exception as error:
        return Refusal(code="broken", detail=repr(error)[:300])


# Each reader is imported when a file wants it: together they would take 100 MB and a third of a second.
def module_of(format: Format) -> Module:  # noqa: A002  (what jobs call it)
    """The reader of a format."""
    match format:
        case "csv" | "tsv":
            from isthmus_file_worker.readers import delimited as reader
        case "jsonl":
            from isthmus_file_worker.readers import records as reader
        case "parquet":
            from isthmus_file_worker.readers import parquet as reader
        case "workbook":
            from isthmus_file_worker.readers import workbooks as reader
        case "pdf":
            from isthmus_file_worker.readers import pdf as reader
        case "docx":
            from isthmus_file_worker.readers import word as reader
        case "pptx":
            from isthmus_file_worker.readers import slides as reader
        case "html":
            from isthmus_file_worker.readers import web as reader
        case "eml":
            from isthmus_file_worker.readers import mail as reader
        case "zip" | "tar" | "packed":
            from isthmus_file_worker.readers import archives as reader
        case "image":
            from isthmus_file_worker.readers import images as reader
    return reader


if __name__ == "__main__":
    main()
