"""The file worker: the tools of file stores, and the stores themselves."""

from collections.abc import Mapping
from pathlib import Path

from isthmus.worker import Source, Worker
from isthmus_file_worker.deleting import delete_file
from isthmus_file_worker.folder import Folder
from isthmus_file_worker.listing import list_files
from isthmus_file_worker.reading import read_file
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.writing import create_folder, write_file


def file_worker(stores: Mapping[str, StoreSettings] = {}) -> Worker[Folder]:
    """A worker that serves these stores; one whose folder is missing is served, and says so when it is called."""
    worker = Worker[Folder]("file", argument="store")
    worker.tool(scope="files:read", action="read", read_only=True)(list_files)
    worker.tool(scope="files:read", action="read", read_only=True)(read_file)
    worker.tool(scope="files:write", action=("create", "update"), destructive=True)(write_file)
    worker.tool(scope="files:write", action="create", idempotent=True)(create_folder)
    worker.tool(scope="files:write", action="delete", destructive=True)(delete_file)
    for name, store in stores.items():
        worker.add(source_of(name, store))
    return worker


def source_of(name: str, store: StoreSettings) -> Source[Folder]:
    """The store as a source. Raises ConfigurationError for a name that cannot be."""
    root = Path(store.path).expanduser().absolute()
    folder = Folder(name, root, store.limit)
    return Source(
        name,
        folder,
        engine="folder",
        target=root.as_uri(),
        title=store.title,
        description=store.description,
        writable=store.access == "read-write",
        limit=store.limit,
        close=folder.close,
    )
