"""A Git repository as tools. Beside a running `isthmus up`: isthmus run python examples/git_worker.py site ./site"""

import sys
from pathlib import Path
from typing import Annotated

import msgspec

from isthmus.programs import run
from isthmus.worker import Call, NotFound, Source, Worker

Word = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-][^\x00]*$", max_length=1000)]  # git sees no option in it

worker = Worker[Path]("git", argument="repository")


class Look(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    repository: str | None = None
    revision: Word = "HEAD"
    """A branch, a tag or a commit."""
    path: Word = "."
    """A file or folder, from the root of the repository."""


class Search(Look):
    text: Word
    """Words as they stand in a line; no pattern."""


@worker.tool(scope="git:use", action="use", read_only=True)
async def list_commits(call: Call[Path], look: Look) -> str:
    """The 50 newest commits that changed a path: id, date, author, subject."""
    return await git(call, "log", "-50", "--format=%h %as %an: %s", "--end-of-options", look.revision, "--", look.path)


@worker.tool(scope="git:use", action="use", read_only=True)
async def show_file(call: Call[Path], look: Look) -> str:
    """A file as it was at a revision; of a folder, what is in it."""
    return await git(call, "cat-file", "-p", "--end-of-options", f"{look.revision}:./{look.path}")


@worker.tool(scope="git:use", action="use", read_only=True)
async def search_code(call: Call[Path], search: Search) -> str:
    """The lines of a revision that hold a text, each with its file and number."""
    return await git(call, "grep", "-nIF", "-e", search.text, search.revision, "--", search.path)


async def git(call: Call[Path], *arguments: str) -> str:
    done = await run("git", "--literal-pathspecs", *arguments, folder=call.source.handle)
    if done.code > 1:  # git grep ends with 1 when it finds nothing
        raise NotFound("There is no such revision or path in this repository.")
    return done.output or "There is nothing."


worker.add(Source(sys.argv[1], Path(sys.argv[2]).resolve(), engine="git", target=f"git:{sys.argv[1]}"))
worker.run()
