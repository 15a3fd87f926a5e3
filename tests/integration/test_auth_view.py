"""View as: what an account sees and why something is denied, as gateways and workers decide it."""

import asyncio
import time
from collections.abc import Generator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from administrator import Administrator
from auth_server import Auth, auth_with_bus
from isthmus import policy
from isthmus.grants import Grant
from isthmus_auth.models import Account, Base, Role, Service
from isthmus_auth.outbox import role_entry, service_entry, user_entry
from isthmus_auth.sources import SourceInfo
from isthmus_auth.view_as import Question, explain, view
from isthmus_mcp_gateway.policy import Policy
from isthmus_mcp_gateway.tokens import Claims
from shelf import Shelf, make_worker, served

READERS = {
    "name": "Readers",
    "grants": [
        {"sources": ["db.*"], "actions": ["read"], "objects": ["orders"], "hidden": ["salary"], "rows": "team = 'a'"}
    ],
    "tools_off": ["run_*"],
}


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    admin = Administrator(auth)
    admin.done("PUT", "/roles/readers", READERS)
    admin.done("PUT", "/roles/idle", {"name": "Idle"})
    return admin


def account(admin: Administrator, email: str, **asked: Any) -> str:
    body = {"email": email, "password": "a long password", **asked}
    return admin.done("POST", "/people", body)["person"]["id"]


def asked(admin: Administrator, account_id: str, **question: str) -> tuple[bool, str]:
    usual = {"account_id": account_id, "source": "db.shelf", "action": "read", "object": "orders"}
    verdict = admin.done("GET", f"/explain?{urlencode({**usual, **question})}")
    return verdict["allowed"], verdict["because"]


def test_every_denial_names_what_decides(admin: Administrator) -> None:
    admin.done("POST", "/services", {"namespace": "files", "label": "Files", "sources": ["file.*"]})
    strict = {"namespace": "strict", "label": "Strict", "roles": ["idle"], "scopes": ["data:read"]}
    admin.done("POST", "/services", strict)
    ann = account(admin, "ann@example.com", roles=["readers"])
    assert asked(admin, ann) == (True, "The role readers allows it.")
    assert asked(admin, ann, action="update") == (False, "Nothing in the role readers grants update in db.shelf.")
    assert asked(admin, ann, object="wages") == (
        False,
        "Nothing in the role readers grants read on wages in db.shelf.",
    )
    assert asked(admin, ann, tool="run_sql") == (False, "The tool run_sql is off in the role readers.")
    assert asked(admin, ann, source="file.x") == (False, "Nothing in the role readers is about file.x.")
    assert asked(admin, ann, namespace="files") == (False, "The service files does not expose db.shelf.")
    assert asked(admin, ann, namespace="strict") == (False, "The service strict takes only the roles idle.")
    assert asked(admin, ann, namespace="strict", scope="data:write") == (
        False,
        "The service strict does not offer the scope data:write.",
    )
    admin.done("PATCH", f"/people/{ann}", {"roles": []})
    assert asked(admin, ann) == (False, "The account has no role.")
    admin.done("PATCH", f"/people/{ann}", {"disabled": True})
    assert asked(admin, ann) == (False, "The account is disabled.")
    assert admin.refused("GET", "/explain?account_id=x&source=a&action=b&object=c")[0] == 404
    assert admin.refused("GET", f"/explain?account_id={ann}&source=a&action=b&object=c&namespace=none")[0] == 404
    assert admin.refused("GET", f"/explain?account_id={ann}")[0] == 400


async def test_the_sources_of_the_bus_are_seen_as_the_account_sees_them(auth: Auth, admin: Administrator) -> None:
    assert auth.nats is not None
    ben = account(admin, "ben@example.com", roles=["readers", "idle"])
    async with served(make_worker(Shelf(), 4), auth.nats):
        seen: dict[str, Any] = {}
        answer: dict[str, Any] = {}
        end = time.monotonic() + 10
        while "db.shelf" not in seen and time.monotonic() < end:
            answer = await asyncio.to_thread(admin.done, "GET", f"/view?account_id={ben}")
            seen = {source["name"]: source for source in answer["sources"]}
            await asyncio.sleep(0.05)
        assert (answer["roles"], answer["tools_off"]) == (["idle", "readers"], {"readers": ["run_*"]})
        assert [grant["role"] for grant in seen["db.shelf"]["grants"]] == ["readers"]
        assert seen["db.shelf"]["why"] == ""


WORDS = st.sampled_from(["db.a", "db.b", "file.a", "db.*", "**"])
OBJECTS = st.sampled_from(["orders", "o*", "**", "crm.*", "wages"])
ACTIONS = st.sampled_from(["read", "update", "*"])
GRANTS = st.builds(
    Grant,
    sources=st.lists(WORDS, min_size=1, max_size=2).map(tuple),
    actions=st.lists(ACTIONS, min_size=1, max_size=2).map(tuple),
    objects=st.lists(OBJECTS, min_size=1, max_size=2).map(tuple),
    hidden=st.lists(st.just("salary"), max_size=1).map(tuple),
    rows=st.sampled_from(["", "a = 1"]),
)
ROLE = st.tuples(st.lists(GRANTS, max_size=2), st.lists(st.sampled_from(["run_sql", "*"]), max_size=1))


@pytest.fixture(scope="module")
def engine() -> Generator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@settings(max_examples=200, deadline=None)
@given(
    roles=st.lists(ROLE, max_size=3),
    exposed=st.lists(WORDS, min_size=1, max_size=2),
    only=st.lists(st.sampled_from(["r0", "r1"]), max_size=1),
    disabled=st.booleans(),
    source=st.sampled_from(["db.a", "db.b", "file.a"]),
    action=st.sampled_from(["read", "update", "delete"]),
    target=st.sampled_from(["orders", "wages", "crm.x"]),
    tool=st.sampled_from(["", "run_sql"]),
)
def test_the_verdict_is_that_of_gateway_and_worker(
    engine: Engine,
    roles: list[tuple[list[Grant], list[str]]],
    exposed: list[str],
    only: list[str],
    disabled: bool,
    source: str,
    action: str,
    target: str,
    tool: str,
) -> None:
    with Session(engine) as session:
        rows = [
            Role(
                id=f"r{n}", name="", grants=[msgspec.to_builtins(g) for g in grants], tools_off=off, calls_per_minute=0
            )
            for n, (grants, off) in enumerate(roles)
        ]
        account = Account(id="u", roles=rows, disabled=disabled, attributes={}, is_admin=False)
        service = Service(namespace="s", label="", description="", is_default=True, sources=exposed, roles=only)
        session.add_all([account, service])
        session.flush()
        verdict = explain(session, "u", "", Question(source=source, action=action, object=target, tool=tool))
        seen = view(session, "u", "s", [SourceInfo(source, "", "")]).sources[0]
        gateway = Policy()
        entries = {policy.key("role", row.id): role_entry(row) for row in rows}
        entries |= {policy.key("user", "u"): user_entry(account), policy.key("service", "s"): service_entry(service)}
        for key, entry in entries.items():
            gateway.put(key, msgspec.json.encode(entry))
        session.rollback()
    claims = Claims("i", "u", "c", "a", 1, 1, "j", "s")
    access = gateway.granted(claims, source, tool).access(action, target)
    assert verdict.allowed == (access is not None), verdict
    if access is not None:
        assert (tuple(verdict.rows), tuple(verdict.hidden)) == (access.rows, access.hidden)
    assert bool(seen.grants) == bool(gateway.granted(claims, source).grants) == (not seen.why)
