"""What a person can allow a client, on the page that asks: scopes and sources, each a choice of its own."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from litestar.response import Template
from sqlalchemy.orm import Session

from isthmus.scopes import describe, writes
from isthmus_auth.audit import AuthEvent
from isthmus_auth.authorizations import latest
from isthmus_auth.browser import Browser
from isthmus_auth.headers import POLICY
from isthmus_auth.models import Account, Client, Service
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import is_loopback
from isthmus_auth.requested import OFFLINE, Approval, Resource, known_scopes, offered_scopes
from isthmus_auth.sources import SourceInfo, shareable

# With `form-action 'self'` Chromium does not follow the redirect from this form to the client.
CONSENT_POLICY = "; ".join(part for part in POLICY.split("; ") if not part.startswith("form-action"))

NOTHING_CHOSEN = "Choose at least one permission and one source, or deny the request."


class Choice(msgspec.Struct, frozen=True):
    """A box to tick."""

    value: str
    text: str
    detail: str = ""
    ticked: bool = True


class Consent:
    """What a client asks of an account, and what the account allowed it the last time."""

    def __init__(
        self,
        session: Session,
        client: Client,
        resource: Resource,
        account: Account,
        scope: str,
        known: list[SourceInfo],
    ) -> None:
        """`scope` is what the client asked for, `known` the sources that there are."""
        self._client = client
        self._resource = resource
        self._account = account
        self._offline = OFFLINE in known_scopes(scope)
        service = session.get_one(Service, resource.namespace)
        self._before = latest(session, client, account.id, service.namespace)
        self._granted = known_scopes(self._before.scope) if self._before else []
        self._shared = self._before.sources if self._before else []
        self._sources = shareable(known, account, service)
        self._offered = offered_scopes(scope, service.scopes)

    @property
    def covers_all(self) -> bool:
        """Whether everything that is asked for now was allowed before."""
        return self._before is not None and set(self._offered) <= set(self._granted)

    @property
    def remembered(self) -> Approval:
        """What was allowed before, as far as it is asked for now."""
        return Approval(self._account.id, self._with_offline(self._offered), tuple(self._shared))

    def chosen(self, form: Parameters) -> Approval | None:
        """What is ticked of what was offered; None: nothing. `offline_access` is no choice of its own."""
        ticked = form.lists.get("scope", [])
        scopes = [scope for scope in self._offered if scope in ticked]
        ticked = form.lists.get("source", [])
        sources = ("**",) if "**" in ticked else tuple(one.value for one in self._choices() if one.value in ticked)
        return Approval(self._account.id, self._with_offline(scopes), sources) if scopes and sources else None

    def page(
        self, browser: Browser, action: str, hidden: Mapping[str, str], *, destination: str, message: str = ""
    ) -> Template:
        """The page that asks. `action` and `hidden` are of its form; `destination` says where the answer goes, empty:
        to a device that shows a code."""
        client = self._client
        context = {
            "client": client.name,
            "described_by": urlsplit(client.client_id).hostname if client.fresh_until else "",
            "named_itself": client.namespace is None and not client.fresh_until,
            "only_local": bool(destination) and client.public and all(map(is_loopback, client.redirect_uris)),
            "destination": destination,
            "service": self._resource.label,
            "reading": self._scopes(writing=False),
            "writing": self._scopes(writing=True),
            "sources": self._choices(),
            "shares_all": self._before is None or "**" in self._shared,
            "email": self._account.email,
            "action": action,
            "hidden": hidden,
            "csrf_token": browser.csrf_token,
            "message": message,
        }
        headers = {"Content-Security-Policy": CONSENT_POLICY}
        return Template("consent.html", context=context, headers=headers, status_code=400 if message else 200)

    def _scopes(self, *, writing: bool) -> list[Choice]:
        """Those asked for: either that write, or that read."""
        return [Choice(scope, describe(scope), scope) for scope in self._offered if writes(scope) is writing]

    def _choices(self) -> list[Choice]:
        """The sources to choose from; those that were chosen before also while they are away."""
        there = [Choice(s.name, s.title, s.description, s.name in self._shared) for s in self._sources]
        names = {source.name for source in self._sources}
        away = [Choice(name, name, "not there at the moment") for name in self._shared if name not in {*names, "**"}]
        return [*there, *away]

    def _with_offline(self, scopes: list[str]) -> str:
        return " ".join([*scopes, OFFLINE] if scopes and self._offline else scopes)


def decided(account: Account, client: Client, resource: Resource, approval: Approval | None, address: str) -> AuthEvent:
    """What the audit trail says of an answer."""
    return AuthEvent(
        event="consent",
        outcome="ok" if approval else "denied",
        address=address,
        principal=account.id,
        client=client.client_id,
        service=resource.namespace,
        scope=approval.scope if approval else "",
        sources=approval.sources if approval else (),
    )
