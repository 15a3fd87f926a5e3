"""The profile `tls`: one public origin, with a certificate for a trial and with the operator's own."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from browser import Form
from composed import Composed
from isthmus.origins import METADATA_PATH
from servers import free_port
from stack import Person, Storage, claims

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1200)]


@dataclass
class Published:
    """The stack behind its TLS proxy."""

    stack: Composed
    origin: str
    trust: ssl.SSLContext

    @contextmanager
    def client(self) -> Generator[httpx2.Client]:
        with httpx2.Client(base_url=self.origin, verify=self.trust) as client:
            yield client


@pytest.fixture(scope="module")
def published(stack: Composed) -> Generator[Published]:
    """With a certificate made by the stack itself, and a proxy before it that may say who its clients are."""
    https, http = str(free_port()), str(free_port())
    origin = f"https://localhost:{https}"
    settings = {
        "COMPOSE_PROFILES": "tls",
        "ISTHMUS_PUBLIC_URL": f"{origin}/",
        "ISTHMUS_TLS_BIND": "127.0.0.1",
        "ISTHMUS_HTTPS_PORT": https,
        "ISTHMUS_HTTP_PORT": http,
        "ISTHMUS_TRUSTED_PROXIES": "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
    }
    with stack.changed(**settings):
        stack.compose("up", "-d", "--no-build", "--wait", "tls")
        authority = stack.compose("exec", "-T", "tls", "cat", "/certificates/authority.pem")
        yield Published(stack, origin, strict_trust(authority))


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_signs_in_through_the_public_origin(published: Published, era: str) -> None:
    connection, storage = published.stack.connection(), Storage()
    assert connection.mcp_endpoint == f"{published.origin}/mcp"
    person = Person(connection, storage, tls=published.trust)
    async with person.client(era) as client:
        found = await client.call_tool("query_table", {"table": "customers", "columns": ["id"], "limit": 3})
        assert not found.is_error, found.content
        assert found.structured_content is not None
        assert len(found.structured_content["rows"]) == 3
    assert person.sign_ins == 1
    assert storage.tokens is not None
    said = claims(storage.tokens.access_token)
    assert (said["iss"], said["aud"]) == (published.origin, connection.mcp_endpoint)


def test_everything_is_https_under_one_name(published: Published) -> None:
    with published.client() as client:
        server = client.get("/.well-known/oauth-authorization-server")
        resources = [client.get(path) for path in (METADATA_PATH, METADATA_PATH + "/mcp")]
        page = client.get("/sign-in")
    assert server.json()["issuer"] == published.origin
    for resource in resources:
        assert resource.json()["resource"] == f"{published.origin}/mcp"
        assert resource.json()["authorization_servers"] == [published.origin]
    for answer in [server, *resources, page]:
        assert "http://" not in answer.text + str(answer.headers)
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-isthmus_session=")
    assert "Secure" in cookie.split("; ")
    plain = httpx2.get(f"http://localhost:{published.stack.settings['ISTHMUS_HTTP_PORT']}/mcp?a=b")
    assert (plain.status_code, plain.headers["location"]) == (308, f"{published.origin}/mcp?a=b")


def test_old_versions_of_tls_are_refused(published: Published) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx2.ConnectError, match="protocol version"):
        httpx2.get(published.origin, verify=old)


def test_the_address_that_a_configured_proxy_adds_is_the_one_that_is_limited(published: Published) -> None:
    with published.client() as client:
        form = Form(client.get("/sign-in").text)

        def attempt(forwarded: str) -> int:
            body = urlencode({**form.fields, "email": "nobody@example.com", "password": "wrong"})
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": forwarded}
            return client.post("/sign-in", content=body, headers=headers).status_code

        assert [attempt(f"203.0.113.{number}, 198.51.100.1") for number in range(11)] == [403] * 10 + [429]
        assert attempt("198.51.100.2") == 403


def test_the_operators_certificate_is_taken_and_browsers_are_told_to_stay(published: Published, tmp_path: Path) -> None:
    certificate = bring_certificate(tmp_path)
    with published.client() as client:
        assert "strict-transport-security" not in client.get("/healthz").headers
    stack, before = published.stack, published.stack.settings
    recreate = ["up", "-d", "--no-build", "--no-deps", "--force-recreate"]
    stack.settings = {
        **before,
        "ISTHMUS_TLS_CERTIFICATE": str(tmp_path / "fullchain.pem"),
        "ISTHMUS_TLS_KEY": str(tmp_path / "privkey.pem"),
    }
    try:
        stack.compose(*recreate, "certificate")
        stack.compose("wait", "certificate")
        stack.compose(*recreate, "--wait", "tls")
        answer = httpx2.get(f"{published.origin}/healthz", verify=strict_trust(certificate))
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert stack.compose("exec", "-T", "tls", "ls", "/certificates") == "site.pem\n"
    finally:
        stack.settings = before


def strict_trust(authority: str) -> ssl.SSLContext:
    """A client that trusts this authority alone, and forgives no irregular certificate."""
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def bring_certificate(folder: Path) -> str:
    """fullchain.pem and privkey.pem as ACME clients leave them; the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    own = certificate.public_bytes(serialization.Encoding.PEM).decode()
    (folder / "fullchain.pem").write_text(own)
    (folder / "privkey.pem").touch(mode=0o600)
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return own
