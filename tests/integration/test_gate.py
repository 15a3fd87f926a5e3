"""The bearer gate: what is let through, what is challenged, and with which words (RFC 6750, RFC 9728)."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jwt
from joserfc.jwk import ECKey

from gateways import Gateway, running_gateway
from isthmus import policy
from isthmus.policy import Consent, Revoked, User
from servers import TLS, NatsServer
from shelf import Shelf, make_worker, served

LIST: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
}


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncGenerator[Gateway]:
    async with served(make_worker(Shelf()), nats), running_gateway(nats) as running:
        yield running


async def post(gateway: Gateway, token: str | None, path: str = "/mcp", **headers: str) -> httpx2.Response:
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(verify=TLS) as http:
        return await http.post(gateway.url + path, json=LIST, headers={**HEADERS, **authorization, **headers})


async def test_a_valid_token_is_let_through(gateway: Gateway) -> None:
    for path in ("/mcp", "/mcp/", "/mcp/default"):
        assert (await post(gateway, gateway.authority.token(), path)).status_code == 200


async def test_without_a_token_the_challenge_names_metadata_and_scopes(gateway: Gateway) -> None:
    answer = await post(gateway, None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == (
        f'Bearer scope="data:read data:write", '
        f'resource_metadata="{gateway.url}/.well-known/oauth-protected-resource/mcp"'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 60},
        {"aud": "http://127.0.0.1:1/mcp"},
        {"aud": []},
        {"iss": "http://evil.example"},
        {"service": "other"},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(gateway: Gateway, changes: dict[str, Any]) -> None:
    answer = await post(gateway, gateway.authority.token(**changes))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_forged_tokens_are_refused(gateway: Gateway) -> None:
    good = gateway.authority.token()
    header, payload, signature = good.split(".")
    forged = [
        gateway.authority.token(key=ECKey.generate_key("P-256", {"kid": "k1"})),
        f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-8]}",
        good[: len(good) // 2],
        "x",
    ]
    for token in forged:
        answer = await post(gateway, token)
        assert answer.status_code == 401, token
        assert "resource_metadata=" in answer.headers["www-authenticate"]


async def test_a_token_cannot_bring_its_own_key_or_name_another_file(gateway: Gateway) -> None:
    own = ECKey.generate_key("P-256", {"kid": "k1"})
    claims = jwt.decode(gateway.authority.token(), gateway.authority.key).claims
    for header in (
        {"jwk": own.as_dict(private=False)},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/certificate"},
        {"kid": "../../etc/passwd"},
        {"kid": "k1' OR '1'='1"},
        {"kid": ""},
        {"kid": None},
        {"kid": own.thumbprint(), "jwk": own.as_dict(private=False)},
        {"alg": "HS256"},
        {"typ": "JWT"},
        {"crit": ["exp"], "exp": 1},
    ):
        signed = ".".join(map(encoded, ({"alg": "ES256", "typ": "at+jwt", "kid": "k1", **header}, claims)))
        # What says itself that it is none of ours is refused with the right key, too.
        for key in (own, gateway.authority.key) if {"typ", "crit", "alg"} & header.keys() else (own,):
            assert (await post(gateway, f"{signed}.{signature(signed, key)}")).status_code == 401, header
        if header.get("alg") == "HS256":
            shared = hmac.digest(gateway.authority.key.as_pem(private=False), signed.encode(), "sha256")
            assert (await post(gateway, f"{signed}.{plain(shared)}")).status_code == 401
    usual = ".".join(map(encoded, ({"alg": "ES256", "typ": "at+jwt", "kid": "k1"}, claims)))
    assert (await post(gateway, f"{usual}.{signature(usual, gateway.authority.key)}")).status_code == 200


def encoded(part: object) -> str:
    return plain(json.dumps(part).encode())


def plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(signed: str, key: ECKey) -> str:
    """By hand: the library makes no token that says such things."""
    made = key.private_key
    assert made is not None
    r, s = decode_dss_signature(made.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return plain(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


async def test_revoked_tokens_and_disabled_users_are_refused(gateway: Gateway) -> None:
    authority = gateway.authority
    await authority.publish({"revoked.session.s1": Revoked(int(time.time()) + 60)})
    await authority.publish({"user.bob": User("bob", ("reader",), disabled=True)})
    async with httpx2.AsyncClient(verify=TLS):
        end = time.monotonic() + 1
        while (await post(gateway, authority.token(sub="bob"))).status_code != 401:
            assert time.monotonic() < end
    assert (await post(gateway, authority.token(sid="s1"))).status_code == 401
    assert (await post(gateway, authority.token(jti="other"))).status_code == 200


@pytest.mark.parametrize("era", ["2026-07-28", "2025-11-25"])
async def test_a_call_with_too_small_a_scope_is_answered_with_all_scopes_that_it_takes(
    gateway: Gateway, era: str
) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "write", "arguments": {"words": "x"}}}
    token = gateway.authority.token(scope="data:read")
    async with httpx2.AsyncClient(verify=TLS) as http:
        answer = await http.post(
            gateway.mcp,
            json=call,
            headers={
                **HEADERS,
                "MCP-Protocol-Version": era,
                "Authorization": f"Bearer {token}",
            },
        )
    assert answer.status_code == 403
    assert answer.headers["www-authenticate"] == (
        'Bearer error="insufficient_scope", scope="data:read data:write", '
        f'resource_metadata="{gateway.url}/.well-known/oauth-protected-resource/mcp"'
    )


async def test_foreign_hosts_and_origins_are_refused(gateway: Gateway) -> None:
    token = gateway.authority.token()
    assert (await post(gateway, token, Host="evil.example")).status_code == 421
    assert (await post(gateway, token, Origin="https://evil.example")).status_code == 403
    assert (await post(gateway, token, Origin=gateway.url)).status_code == 200


async def test_metadata_names_the_resource_that_was_asked_for(gateway: Gateway) -> None:
    async with httpx2.AsyncClient(verify=TLS) as http:
        base = f"{gateway.url}/.well-known/oauth-protected-resource"
        found = {path: (await http.get(base + path)).json() for path in ("", "/mcp", "/mcp/default", "/mcp/other")}
        assert (await http.get(base + "/mcp/nothing")).status_code == 404
    assert {path: body["resource"] for path, body in found.items()} == {
        "": gateway.mcp,
        "/mcp": gateway.mcp,
        "/mcp/default": f"{gateway.mcp}/default",
        "/mcp/other": f"{gateway.mcp}/other",
    }
    assert found[""]["authorization_servers"] == ["http://127.0.0.1:7411"]
    assert found[""]["scopes_supported"] == ["data:read", "data:write"]


async def test_an_unknown_service_is_not_found_and_garbage_is_no_server_error(gateway: Gateway) -> None:
    token = gateway.authority.token()
    for path in ("/mcp/nothing", "/mcpx", "/mcp/default/more", "/mcp/..", "/mcp/default%2Fx"):
        assert (await post(gateway, token, path)).status_code == 404, path
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, verify=TLS) as http:
        for body in (b"", b"{", b"[]", b'"x"', b"\xff", b'{"method": 1}', b'{"jsonrpc":"2.0","id":1,"method":"nope"}'):
            answer = await http.post(gateway.mcp, content=body, headers={**HEADERS, "Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (body, answer.status_code)
        assert (await http.post(gateway.mcp, content=b"x" * 5_000_000)).status_code == 413


async def test_a_token_that_is_quicker_than_its_consent_waits_for_it(gateway: Gateway) -> None:
    authority = gateway.authority

    async def consent_later() -> None:
        await asyncio.sleep(0.2)  # the bus takes its time
        await authority.publish({policy.key("consent", "s9"): Consent()})

    arriving = asyncio.create_task(consent_later())
    async with gateway.client(token=authority.token(sid="s9")) as client:
        found = await client.call_tool("list_sources", {})
        assert found.structured_content is not None
        assert [source["name"] for source in found.structured_content["sources"]] == ["closed", "shelf"]
        assert arriving.done()
    began = time.monotonic()
    assert (await post(gateway, authority.token(sid="never"))).status_code == 200
    assert time.monotonic() - began < 5
