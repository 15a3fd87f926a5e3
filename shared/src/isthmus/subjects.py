"""Every subject on the bus, as a function. Nothing else in the project spells one out."""

import re

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What the name of a source, a tool or a kind of worker matches, whole."""

PEER = "peer"
"""Stands for a kind in the gateways' inboxes: answers of other gateways, where no worker may publish."""

SRV = "srv"
"""Stands for a kind there too: answers to `$SRV` and to `tools`, where every worker may publish."""

BUILT_IN = ("db", "file")
"""The kinds of the product's own workers: each has a NATS user of its own."""

CATALOG_CHANGED = "isthmus.catalog.changed"
"""Worker → gateways and auth: a worker started, changed or is leaving. A hint: it may be lost."""

CANCEL = "isthmus.cancel"
"""Gateway → workers: the call with this id is no longer wanted."""


def call(kind: str, source: str, tool: str) -> str:
    """Gateway → worker: run one tool on one source."""
    return f"isthmus.call.{kind}.{source}.{tool}"


def calls(kind: str, source: str) -> str:
    """All calls for one source: what its workers subscribe to, in the queue group `source`."""
    return f"isthmus.call.{kind}.{source}.*"


def updated(kind: str, source: str) -> str:
    """Worker → gateways: a resource of the source changed; the body is its URI. `*` stands for any."""
    return f"isthmus.updated.{kind}.{source}"


def tools(kind: str, digest: str) -> str:
    """Gateway → any worker that holds this set of tool definitions."""
    return f"isthmus.tools.{kind}.{digest}"


def audit(service: str) -> str:
    """JSON lines for the stream `AUDIT`; `service` is `gateway` or `auth`."""
    return f"isthmus.audit.{service}"


def gateway(gateway_id: str, topic: str) -> str:
    """Gateway → the gateway with this id: `request`, `heard` or `gone`."""
    return f"isthmus.gateway.{gateway_id}.{topic}"


def inbox(user: str) -> str:
    """The prefix of everything that this NATS user is answered on."""
    return f"_INBOX_{user}"


def srv(verb: str, service: str = "", instance: str = "") -> str:
    """`$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`: all services, one kind of service, or one instance (ADR-32)."""
    return ".".join(part for part in ("$SRV", verb, service, instance) if part)


def is_name(text: str) -> bool:
    """Whether `text` may stand as a source, tool or kind in a subject."""
    return NAME.fullmatch(text) is not None


def is_kind(text: str) -> bool:
    """Whether workers may be of the kind `text`."""
    return is_name(text) and text not in (PEER, SRV)
