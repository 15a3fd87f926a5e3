"""`python -m isthmus_mcp_gateway`."""

import sys
from types import FrameType

import uvicorn

from isthmus import lifetime, logs
from isthmus.errors import ConfigurationError
from isthmus.proxies import trusted_proxies
from isthmus.settings import read_settings
from isthmus_mcp_gateway.app import Gateway, create_app
from isthmus_mcp_gateway.settings import Settings


class _Server(uvicorn.Server):
    """Ends listen streams at the signal: an open one would hold up the end until its time is over."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        gateway: Gateway | None = getattr(self.config.app.state, "gateway", None)  # pyright: ignore
        if gateway is not None:
            gateway.endpoint.listeners.streams.close()
        super().handle_exit(sig, frame)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    try:
        settings = read_settings(Settings)
    except ConfigurationError as error:
        sys.exit(error.message)
    logs.set_up("mcp-gateway", settings)
    lifetime.follow_launcher()
    app = create_app(settings)
    trusted = trusted_proxies(settings.trusted_proxies)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        timeout_graceful_shutdown=3,
    )
    _Server(config).run()


if __name__ == "__main__":
    main()
