"""`python -m isthmus_file_worker`: serves the configured file stores until it is told to stop."""

import sys
from functools import partial

from isthmus.errors import ConfigurationError
from isthmus.settings import read_settings
from isthmus.worker import ConfiguredSources
from isthmus_file_worker.settings import FileSettings, StoreSettings
from isthmus_file_worker.worker import file_worker, source_of


def main() -> None:
    """Runs the worker with the settings of the environment; with `--check` it only looks at them."""
    try:
        worker = file_worker()
        source = partial(source_of, data_dir=read_settings(FileSettings).data_dir)
        worker.follow(ConfiguredSources("files", StoreSettings, source))
        if sys.argv[1:] != ["--check"]:
            worker.run()
    except ConfigurationError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  (logging begins with valid settings)
        sys.exit(2)


if __name__ == "__main__":
    main()
