"""`python -m isthmus_db_worker`: serves the configured databases."""

import sys

from isthmus.errors import ConfigurationError
from isthmus.worker import ConfiguredSources
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker, source_of


def main() -> None:
    """Serves until SIGTERM or SIGINT; with `--check` it only looks at the configuration.

    What is wrong with the configuration is said in one sentence; the code is 2.
    """
    try:
        worker = create_worker()
        worker.follow(ConfiguredSources("databases", DatabaseSettings, source_of))
        if sys.argv[1:] != ["--check"]:
            worker.run()
    except ConfigurationError as error:
        sys.stderr.write(f"isthmus-db-worker: {error.message}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
