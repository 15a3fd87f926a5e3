"""The audit trail in the console: searched, filtered, followed, exported."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Stream, Template
from sqlalchemy import select

from isthmus_auth import admin_audit
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.audit_reader import Found, Page, Wanted
from isthmus_auth.console.shell import fragment, page
from isthmus_auth.models import Account

HERE = "audit"
KINDS = {
    "": "Everything",
    "call": "Calls of tools",
    "refused": "Refused at the gate",
    "sign_in": "Sign-ins",
    "consent": "Consents",
    "token": "Tokens",
    "admin": "Administration",
    "key": "API keys",
    "factor": "Second factors",
    "registered": "Registrations",
    "revoked": "Revocations",
    "sign_out": "Sign-outs",
    "lost": "Gaps",
}
OUTCOMES = {"": "Any outcome", "ok": "Done", "failed": "Not done"}
NOTHING = Page(events=[], next_before=None, newest="0.0", looked_back_to="")


class Line(msgspec.Struct, frozen=True):
    """An event as the page shows it."""

    id: str
    kind: str
    time: str
    who: str
    """The e-mail address of an account that there is; else its id, or the client."""
    what: str
    where: str
    outcome: str
    milliseconds: str
    fields: dict[str, str]
    """Everything, as text."""


@get("/audit")
async def show(
    asking: NamedDependency[Asking],
    wanted: NamedDependency[Wanted],
    before: FromQuery[str] = "",
    follow: FromQuery[bool] = False,
) -> Template:
    """A page of events."""
    refusal, found = None, NOTHING
    try:
        found = await admin_audit.list_events(asking, await _resolved(asking, wanted), before)
    except Refusal as refused:
        if refused.status_code in (401, 403):
            raise
        refusal = refused
    context = {
        "wanted": wanted,
        "query": _query(wanted),
        "filtered": bool(_query(wanted)),
        "kinds": KINDS if wanted.event in KINDS else {**KINDS, wanted.event: wanted.event},
        "outcomes": OUTCOMES if wanted.outcome in OUTCOMES else {**OUTCOMES, wanted.outcome: wanted.outcome},
        "lines": await lines_of(asking, found.events),
        "found": found,
        "before": before,
        "follow": follow and not before,
    }
    return await page(asking, "console/audit.html", HERE, context, refusal=refusal)


@get("/audit/newer")
async def show_newer(
    asking: NamedDependency[Asking], wanted: NamedDependency[Wanted], after: FromQuery[str]
) -> Template:
    """What has come since, for a page that follows."""
    found = await admin_audit.list_events(asking, await _resolved(asking, wanted), after=after)
    context = {"lines": await lines_of(asking, found.events), "query": _query(wanted), "newest": found.newest}
    return fragment(asking, "console/audit_newer.html", context)


@get("/audit/export")
async def export(
    asking: NamedDependency[Asking], wanted: NamedDependency[Wanted], kind: FromQuery[str] = "jsonl"
) -> Stream:
    """All that the filter matches, to keep."""
    resolved = await _resolved(asking, wanted)
    return await admin_audit.export_events(asking, resolved, "csv" if kind == "csv" else "jsonl")


async def _resolved(asking: Asking, wanted: Wanted) -> Wanted:
    """With the id of the account whose e-mail address somebody gave."""
    if "@" not in wanted.principal:
        return wanted
    email = wanted.principal.lower()
    found = await asking.read(lambda s, _: s.scalar(select(Account.id).where(Account.email == email)))
    return msgspec.structs.replace(wanted, principal=found or wanted.principal)


async def lines_of(asking: Asking, events: Iterable[Found]) -> list[Line]:
    """Events in words, with the e-mail addresses of who did them."""
    events = list(events)
    ids = {str(one.event["principal"]) for one in events if one.event.get("principal")}
    emails: dict[str, str] = {}
    if ids:
        of_these = select(Account.id, Account.email).where(Account.id.in_(ids), Account.email.is_not(None))
        rows = await asking.read(lambda s, _: list(s.execute(of_these)))
        emails = {account_id: email or "" for account_id, email in rows}
    return [_line(one, emails) for one in events]


def _line(found: Found, emails: Mapping[str, str]) -> Line:
    fields = {name: _text(value) for name, value in found.event.items()}
    principal = fields.get("principal", "")
    kind = fields.get("event", "")
    match kind:
        case "call":
            what, where = fields.get("tool", ""), fields.get("source", "")
        case "admin" | "key" | "factor":
            what, where = f"{fields.get('action', '')} {fields.get('object', '')}".strip(), ""
        case "refused":
            what, where = f"{fields.get('status', '')}, {fields.get('count', '1')} times", fields.get("service", "")
        case _:
            what = fields.get("grant") or fields.get("method") or fields.get("scope") or ""
            where = fields.get("service", "")
    return Line(
        found.id,
        kind,
        fields.get("time", ""),
        emails.get(principal) or principal or fields.get("client", "") or fields.get("address", ""),
        what,
        where,
        fields.get("outcome") or ("refused" if kind == "refused" else "lost" if kind == "lost" else "ok"),
        fields.get("milliseconds", ""),
        fields,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _query(wanted: Wanted) -> str:
    return urlencode({name: value for name, value in msgspec.structs.asdict(wanted).items() if value})
