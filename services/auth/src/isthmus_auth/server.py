"""The authorization server: Authlib's core, subclassed where it asks to be."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec
from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationServer, BaseGrant, ClientMixin, InvalidClientError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.authorizations import renew
from isthmus_auth.hashing import digest, random_secret
from isthmus_auth.models import Authorization, Client, RefreshToken, Service
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import OFFLINE
from isthmus_auth.signing import Claims, SigningKeys, Subject

AUTH_METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post", "none")
"""`token_endpoint_auth_methods_supported`; each client uses the one its registration allows."""

CONFIDENTIAL_METHODS = tuple(method for method in AUTH_METHODS if method != "none")
"""Those that prove who the client is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a protocol endpoint answers: JSON, or a redirect in `location`."""

    status: int
    body: Mapping[str, object]
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


class IssuerKeys(msgspec.Struct, frozen=True):
    """Who a request's assertion says it is of, if that is trusted here, and their public keys."""

    issuer: str
    jwks: Mapping[str, object]


class WrongClientError(InvalidClientError):
    """The one answer to every client that fails to authenticate (RFC 6749, section 5.2)."""

    status_code = 401
    description = "The client is unknown, or its credentials are wrong."

    def get_headers(self) -> list[tuple[str, str]]:
        return [("WWW-Authenticate", 'Basic realm="isthmus"'), ("Cache-Control", "no-store")]


class ProtocolRequest(OAuth2Request):
    """A request to /authorize or /token, already read and decoded."""

    def __init__(self, method: str, parameters: Parameters, authorization: str = "") -> None:
        # Authlib would refuse plain http here; whether there is a proxy with TLS in front is the operator's matter.
        super().__init__(method, "https://isthmus", headers={"Authorization": authorization})
        self.parameters = parameters
        self.payload = BasicOAuth2Payload(parameters.values)

    @property
    def form(self) -> dict[str, str]:
        return self.parameters.values


class IsthmusServer(AuthorizationServer):
    """One per request, over the request's own database session."""

    def __init__(self, session: Session, origins: Origins, keys: SigningKeys) -> None:
        super().__init__()
        self.session = session
        self.origins = origins
        self._keys = keys
        self.issuer_keys: IssuerKeys | None = None

    def claims(self, token: str) -> Claims | None:
        """What an access token of ours says that has not expired; None: it is none."""
        return self._keys.claims(token, self.origins.issuer)

    def answer_token(self, request: ProtocolRequest) -> Answer:
        """What /token answers."""
        return cast("Answer", self.create_token_response(request))

    def answer_authorization(self, request: ProtocolRequest, grant: BaseGrant, approval: object | None) -> Answer:
        """What the client is told about a request that was checked and decided; None: it was denied."""
        return cast("Answer", self.create_authorization_response(request, grant_user=approval, grant=grant))

    def answer_error(self, request: ProtocolRequest, error: OAuth2Error) -> Answer:
        """What the client is told about a request that was refused."""
        return cast("Answer", self.handle_error_response(request, error))

    def query_client(self, client_id: str) -> Client | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The client, or None (which the library's type stubs leave out)."""
        return None if "\0" in client_id else self.session.get(Client, client_id)

    def create_oauth2_request(self, request: ProtocolRequest) -> OAuth2Request:
        """The request as it is."""
        return request

    def handle_response(  # pyright: ignore[reportIncompatibleMethodOverride]  (headers come as pairs)
        self, status: int, body: Mapping[str, object] | str, headers: Collection[tuple[str, str]]
    ) -> Answer:
        """Every redirect from here is an authorization response, so it names the issuer (RFC 9207)."""
        named = dict(headers)
        if "Location" in named:
            named["Location"] = add_params_to_uri(named["Location"], [("iss", self.origins.issuer)])
            return Answer(status, {}, named)
        return Answer(status, body if isinstance(body, Mapping) else {}, named)

    def save_token(self, token: dict[str, str | int], request: OAuth2Request) -> None:
        """Stores the refresh token's digest, and lets the authorization live as long."""
        subject: Subject | None = request.user
        if subject is None or subject.sid is None:
            return
        authorization = self.session.get_one(Authorization, subject.sid)
        renew(self.session, authorization, self.session.get_one(Client, authorization.client_id))
        if "refresh_token" in token:
            self.session.add(
                RefreshToken(
                    token_hash=digest(str(token["refresh_token"])),
                    sid=authorization.sid,
                    expires_at=int(time.time()) + self._service(authorization.namespace).refresh_lifetime,
                )
            )

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def authenticate_client(
        self, request: OAuth2Request, methods: Collection[str], endpoint: str = "token"
    ) -> ClientMixin:
        """As the library does it, with one answer for every failure."""
        try:
            return super().authenticate_client(request, methods, endpoint)
        except InvalidClientError:
            raise WrongClientError() from None

    def generate_token(
        self,
        grant_type: str,
        client: ClientMixin,
        user: Subject | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, str | int]:
        """The token response (RFC 6749, section 5.1) with an access token of RFC 9068. `user` is required."""
        if user is None:
            raise TypeError("A token needs a subject.")
        service = self._service(user.namespace)
        scope = " ".join(s for s in (scope or "").split() if not service.scopes or s in (*service.scopes, OFFLINE))
        lifetime = service.access_lifetime
        token: dict[str, str | int] = {
            "access_token": self._keys.access_token(self.origins.issuer, client.get_client_id(), user, scope, lifetime),
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": scope,
        }
        if include_refresh_token:
            token["refresh_token"] = random_secret()
        return token

    def _service(self, namespace: str) -> Service:
        return self.session.get_one(Service, namespace)
