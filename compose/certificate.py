"""Before the TLS proxy: the operator's certificate, or one for a trial, made for the public name.

The trial's authority can vouch for this one name, and its key is thrown away once it has.
"""

import ssl
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from init import PROXY, hand_over

from isthmus.errors import ConfigurationError
from isthmus.origins import OriginSettings, parse_origin
from isthmus.settings import read_settings

GIVEN = Path("/given")
CERTIFICATES = Path("/certificates")
SITE = CERTIFICATES / "site.pem"
AUTHORITY = CERTIFICATES / "authority.pem"
"""There only while the certificate is one for a trial."""

LIFETIME = timedelta(days=800)
"""The longest that all common clients accept is 825 days."""
LEFT = timedelta(days=30)
"""A certificate for a trial that ends sooner is made again."""


def public_host() -> str:
    """The name that the certificate is for. Raises ConfigurationError if there is no https origin."""
    origin = parse_origin(read_settings(OriginSettings).public_url)
    if not origin.startswith("https://"):
        raise ConfigurationError("The profile tls needs ISTHMUS_PUBLIC_URL, such as https://mcp.example.com.")
    return str(urlsplit(origin).hostname)


def given() -> str:
    """Certificates and key as the operator brings them; empty: neither."""
    parts = [(GIVEN / name).read_text().strip() for name in ("certificate.pem", "key.pem")]
    return "\n".join(part for part in parts if part)


def general_name(host: str) -> x509.DNSName | x509.IPAddress:
    """The host as certificates name it."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def is_still_good(host: str) -> bool:
    """Whether the trial's certificate is for this host, and for a while yet."""
    if not (AUTHORITY.exists() and SITE.exists()):
        return False
    made = x509.load_pem_x509_certificate(SITE.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(names) == [general_name(host)] and made.not_valid_after_utc - LEFT > datetime.now(UTC)


def make(host: str) -> dict[str, str]:
    """An authority for this name alone, and a certificate that it signed."""
    name = general_name(host)
    whole = x509.IPAddress(ip_network(host)) if isinstance(name, x509.IPAddress) else name
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Isthmus trial authority for {host}"[:64])])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        begun(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=[whole], excluded_subtrees=None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    site = (
        begun(subject, issuer, key)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    vouched = authority.public_bytes(serialization.Encoding.PEM)
    own = site.public_bytes(serialization.Encoding.PEM)
    return {SITE.name: (own + vouched + secret).decode(), AUTHORITY.name: vouched.decode()}


def begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """What both certificates have in common."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key may do (RFC 5280, section 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def check(pem: str) -> None:
    """Raises ConfigurationError unless this is a certificate and its own key."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except ssl.SSLError:
            raise ConfigurationError(
                "ISTHMUS_TLS_CERTIFICATE and ISTHMUS_TLS_KEY must name a certificate and its own key, both as PEM."
            ) from None


def main() -> None:
    """Runs as root, which may read what the operator keeps for root alone."""
    host = public_host()
    if brought := given():
        check(brought)
        hand_over(CERTIFICATES, PROXY, {SITE.name: brought})
        AUTHORITY.unlink(missing_ok=True)
    elif not is_still_good(host):
        hand_over(CERTIFICATES, PROXY, make(host))


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(error.message)
