"""Logging, set up once by each `__main__`."""

import logging
import sys


def set_up(service: str, level: str = "INFO") -> None:
    """One line an event on standard error: time, service, level, what happened."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format=f"%(asctime)s {service} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    for noisy in ("httpx2", "httpcore2", "nats", "mcp", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
