"""`python -m soak.gateway`: the gateway as it is, and its counters."""

# pyright: reportPrivateUsage=false

from isthmus_mcp_gateway.__main__ import main
from isthmus_mcp_gateway.app import Gateway
from soak.counters import the, watch


def count() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Idle, held and kept."""
    gateway = the(Gateway)
    inbox, endpoint, manager = gateway.inbox, gateway.endpoint, gateway.manager
    listeners, lines, tasks = endpoint.listeners, endpoint._relay._calls._lines, endpoint.tasks._tasks
    idle = {
        "calls": len(inbox._pending),
        "lines": len(lines),
        "sessions": len(listeners._sessions),
        "sessions of the SDK": len(manager._server_instances) + len(manager._session_owners),
        "listen streams": len(listeners.streams._streams) + len(listeners._bus._listeners),
        "forwarded": len(gateway.forwarding._under_way),
        "hosted": len(gateway.hosting._hosted) + len(gateway.hosting._tasks),
        "MCP tasks that run": sum(task.job is not None for task in tasks.values()),
        "INFO being read": len(gateway.discovery._reading),
    }
    held = {
        "subscriptions": len(inbox.client._subs),
        "workers": len(gateway.discovery._instances),
        "sets of definitions": len(gateway.discovery._sets),
        "kinds": len(inbox._kinds),
    }
    kept = {"MCP tasks": len(tasks), "views": len(endpoint.views._kept)}
    return idle, held, kept


if __name__ == "__main__":
    watch(count)
    main()
