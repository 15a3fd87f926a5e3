"""`python -m isthmus_auth`: serves until SIGTERM or SIGINT."""

import sys

import uvicorn

from isthmus import lifetime, logs
from isthmus.errors import ConfigurationError
from isthmus.proxies import trusted_proxies
from isthmus.settings import read_settings
from isthmus_auth.app import create_app
from isthmus_auth.settings import AuthSettings


def configured(settings: AuthSettings) -> uvicorn.Config:
    """How the app is served."""
    trusted = trusted_proxies(settings.trusted_proxies)
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=3,
    )


def main() -> None:
    """Reads the settings, then serves."""
    try:
        settings = read_settings(AuthSettings)
    except ConfigurationError as error:
        sys.exit(error.message)
    logs.set_up("auth", settings)
    lifetime.follow_launcher()
    uvicorn.Server(configured(settings)).run()


if __name__ == "__main__":
    main()
