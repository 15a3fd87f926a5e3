"""`python -m isthmus_mcp_gateway`."""

import asyncio
import sys
import time
from socket import socket
from typing import cast

import uvicorn

from isthmus import lifetime, logs
from isthmus.errors import ConfigurationError
from isthmus.proxies import trusted_proxies
from isthmus.settings import read_settings
from isthmus_mcp_gateway.app import CALLS_END_WITHIN, Gateway, create_app
from isthmus_mcp_gateway.settings import Settings


class Server(uvicorn.Server):
    """Leaves so that no call is lost: load balancers look away first, then streams end, then calls are finished."""

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Still takes requests when it begins: they may come until every load balancer has asked `/readyz`."""
        gateway = cast("Gateway", self.config.app.state.gateway)  # pyright: ignore
        until = time.monotonic() + (gateway.settings.leave_after if gateway.ready else 0)
        gateway.leaving = True
        while time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110  (a second Ctrl-C is but a flag)
            await asyncio.sleep(0.05)
        await gateway.leave()
        await super().shutdown(sockets)


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
        timeout_graceful_shutdown=int(CALLS_END_WITHIN),
    )
    Server(config).run()


if __name__ == "__main__":
    main()
