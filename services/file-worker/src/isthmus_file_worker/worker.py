"""The file worker: the tools, resources and prompt of file stores, and the stores themselves."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from isthmus.errors import ConfigurationError
from isthmus.tools import Tool, Updated
from isthmus.worker import Source, Worker
from isthmus_file_worker import completing, prompts, resources
from isthmus_file_worker.deleting import delete_file
from isthmus_file_worker.editing import edit_file
from isthmus_file_worker.folder import Folder
from isthmus_file_worker.indexing import Index
from isthmus_file_worker.inspecting import get_file_info
from isthmus_file_worker.listing import list_files
from isthmus_file_worker.locations import BucketLocation
from isthmus_file_worker.moving import copy_file, move_file
from isthmus_file_worker.reading import read_file
from isthmus_file_worker.searching import search_files
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.sharing import share_tool
from isthmus_file_worker.store import Store
from isthmus_file_worker.watching import watch
from isthmus_file_worker.writing import create_folder, write_file


def file_worker(stores: Mapping[str, StoreSettings] = {}, data_dir: str = "") -> Worker[Store]:
    """A worker that serves these stores; one that cannot be reached is served, and says so when it is called."""
    worker = Worker[Store]("file", argument="store", objects=True)
    worker.tool(scope="files:read", action="read", read_only=True)(list_files)
    worker.tool(scope="files:read", action="read", read_only=True)(read_file)
    worker.tool(scope="files:read", action="read", read_only=True)(search_files)
    worker.tool(scope="files:read", action="read", read_only=True)(get_file_info)
    worker.tool(scope="files:write", action=("create", "update"), destructive=True)(write_file)
    worker.tool(scope="files:write", action="create", idempotent=True)(create_folder)
    worker.tool(scope="files:write", action="update", destructive=True)(edit_file)
    worker.tool(scope="files:write", action="create")(copy_file)
    worker.tool(scope="files:write", action="create", destructive=True)(move_file)
    worker.tool(scope="files:write", action="delete", destructive=True)(delete_file)
    worker.resource("store://{store}", scope="files:read", action="read", mime_type="text/plain")(resources.files)
    worker.resource("store://{store}/{+path}", scope="files:read", action="read", object="path")(resources.file)
    worker.completion(action="read")(completing.path)
    worker.prompt(scope="files:read", action="read", title="Summarize a folder")(prompts.summarize_folder)
    for name, settings in stores.items():
        worker.add(source_of(name, settings, data_dir))
    return worker


def source_of(name: str, settings: StoreSettings, data_dir: str = "") -> Source[Store]:
    """The store as a source. Raises ConfigurationError for a name that cannot be, and for an index without a place."""
    if settings.index and not data_dir:
        raise ConfigurationError(
            f"files.{name} has `index = true`, so ISTHMUS_DATA_DIR must name a folder to keep it in."
        )
    index = Index(name, Path(data_dir).absolute() / "index") if settings.index else None
    location = settings.location
    handle: Store
    tools: dict[str, Tool[Store]] = {}
    if isinstance(location, BucketLocation):
        # The SDK takes as long to import as all else together; a worker of folders does without.
        from isthmus_file_worker.bucket import Bucket

        keys = settings.access_key, settings.secret_key
        handle = Bucket(name, location, *keys, settings.limit, settings.writes, index)
        engine, target = "s3", location.target
        if settings.share_seconds:
            tools["share_file"] = share_tool(handle.link, settings.share_seconds)
    else:
        handle = Folder(name, location, settings.limit, settings.writes, index)
        engine, target = "folder", location.as_uri()

    async def background(updated: Updated) -> None:
        async with asyncio.TaskGroup() as group:
            if isinstance(handle, Folder):
                group.create_task(watch(handle, updated))
            if index is not None:
                group.create_task(index.follow(handle))

    return Source(
        name,
        handle,
        engine=engine,
        target=target,
        title=settings.title,
        description=settings.description,
        writable=settings.access == "read-write",
        limit=settings.limit,
        tools=tools,
        background=background if index is not None or isinstance(handle, Folder) else None,
        close=handle.close,
    )
