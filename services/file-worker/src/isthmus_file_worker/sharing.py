"""`share_file`: a link for people without an account, for as long as the store's configuration allows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from isthmus.auditing import Written
from isthmus.errors import InvalidArguments, NotAllowed
from isthmus.tools import Call, Tool
from isthmus.worker import define_tool
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.settings import LONGEST
from isthmus_file_worker.store import Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look
from isthmus_file_worker.writing import file_names


class ShareFile(StoreArguments, kw_only=True):
    """What to share."""

    path: str
    """The file."""
    expires_in: Annotated[int, msgspec.Meta(ge=1, le=LONGEST)] = 3600
    """Seconds that the link holds."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """A link to a file."""

    path: str
    url: str
    expires: datetime

    def text(self) -> str:
        return f"{self.url}\nAnybody who has this link can fetch {self.path} until {self.expires.isoformat()}."


def share_tool(link: Callable[[Names, int], str], most: int) -> Tool[Store]:
    """The tool of a bucket that allows links of up to so many seconds; who makes one needs the action `share`.

    `link` makes the URL of a file that holds for some seconds.
    """

    async def share_file(call: Call[Store], arguments: ShareFile) -> Shared:
        """Makes a link with which anybody can fetch a file, without signing in, until it expires."""
        names = file_names(arguments.path)
        path = show(names)
        if arguments.expires_in > most:
            raise InvalidArguments(f"Links to files of {call.source.name} hold for {most} seconds at most.")

        def work(stop: Stop) -> str:
            store = call.source.handle
            if look(store, call.granted, names, stop).kind == "folder":
                raise InvalidArguments(f"{path} is a folder; share the files in it.")
            if call.granted.access("read", path) is None or call.granted.access("share", path) is None:
                raise NotAllowed(f"You may not share {path}.")
            return link(names, arguments.expires_in)

        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=arguments.expires_in)
        url = await call.source.handle.work(work, call.left)
        call.wrote(Written(object=path, action="share"))
        return Shared(path=path, url=url, expires=expires)

    return define_tool("file", "store", share_file, scope="files:read", action="share", read_only=True)
