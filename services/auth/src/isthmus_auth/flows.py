"""The three grants (RFC 6749, sections 4.1, 4.4 and 6), and what OAuth 2.1 and MCP demand beyond them."""

import time
from typing import cast

from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    BaseGrant,
    ClientCredentialsGrant,
    ClientMixin,
    InvalidRequestError,
    InvalidScopeError,
    RefreshTokenGrant,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc7636 import CodeChallenge

from isthmus.scopes import SCOPES
from isthmus_auth import authorizations
from isthmus_auth.authorizations import CODE_LIFETIME, revoke
from isthmus_auth.hashing import digest
from isthmus_auth.models import Account, Authorization, AuthorizationCode, Client, RefreshToken
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import (
    OFFLINE,
    Approval,
    InvalidTargetError,
    Manner,
    Resource,
    find_resource,
    known_scopes,
)
from isthmus_auth.server import AUTH_METHODS, CONFIDENTIAL_METHODS, IsthmusServer, ProtocolRequest
from isthmus_auth.signing import Subject

TokenAnswer = tuple[int, dict[str, str | int], list[tuple[str, str]]]
"""Status, body and headers of a token response."""


class IsthmusGrant(BaseGrant):
    """What a grant works on, as what it is here."""

    server: IsthmusServer

    @property
    def asked(self) -> Parameters:
        """What the request says."""
        return cast("ProtocolRequest", self.request).parameters

    @property
    def client(self) -> Client:
        return cast("Client", super().client)


class Requirements(CodeChallenge):
    """PKCE with S256 for every client, a resource that exists, one value for each parameter."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012  (the library's declaration)

    def validate_code_challenge(self, grant: "CodeGrant", redirect_uri: str) -> None:
        """Checks an authorization request; what is wrong here is told to the client by redirect."""
        asked = grant.asked
        if repeated := asked.repeated():
            raise InvalidRequestError(f"Sent more than once: {_printable(' '.join(sorted(repeated)))}.")
        response_type = asked.get("response_type")
        if not response_type:
            raise InvalidRequestError("The parameter response_type is missing.")
        if response_type != "code":
            raise OAuth2Error("The only response type here is code.", error="unsupported_response_type")
        if asked.get("response_mode") not in ("", "query"):
            raise InvalidRequestError("The only response mode here is query.")
        if not grant.client.check_grant_type(grant.GRANT_TYPE):
            raise UnauthorizedClientError("This client is not registered for authorization codes.")
        if asked.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is required: send code_challenge and code_challenge_method=S256.")
        super().validate_code_challenge(grant, redirect_uri)
        grant.manner = Manner.of(asked)
        grant.resource = find_resource(grant.server.session, grant.server.origins, grant.client, asked.get("resource"))

    def get_authorization_code_challenge_method(self, authorization_code: AuthorizationCode) -> str:
        return "S256"


class CodeGrant(IsthmusGrant, AuthorizationCodeGrant):
    """Authorization codes: stored as digests, valid once; a second use ends the authorization."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    resource: Resource
    manner: Manner

    @classmethod
    def check_authorization_endpoint(cls, request: OAuth2Request) -> bool:
        """True: a wrong response type is told to the client once its redirect URI is known to be its own."""
        return True

    @staticmethod
    def validate_no_multiple_request_parameter(request: ProtocolRequest) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Without one client and one redirect URI there is nobody to tell; the rest is checked later."""
        if request.parameters.repeated() & {"client_id", "redirect_uri"}:
            raise InvalidRequestError("The client_id or the redirect_uri was sent more than once.")

    @staticmethod
    def validate_authorization_redirect_uri(request: ProtocolRequest, client: ClientMixin) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The library's check, with messages that hold nothing the request sent."""
        if uri := request.parameters.get("redirect_uri"):
            if not client.check_redirect_uri(uri):
                raise InvalidRequestError("The redirect_uri is not registered for this client.")
            return uri
        if uri := client.get_default_redirect_uri():
            return uri
        raise InvalidRequestError("The redirect_uri is missing.")

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        approval: Approval = request.user  # pyright: ignore[reportAssignmentType]  (set by create_authorization_response)
        session = self.server.session
        authorization = authorizations.grant(
            session, self.client, approval.account_id, self.resource, approval.scope, list(approval.sources)
        )
        session.flush()
        session.add(
            AuthorizationCode(
                code_hash=digest(code),
                sid=authorization.sid,
                redirect_uri=self.asked.get("redirect_uri"),
                code_challenge=self.asked.get("code_challenge"),
                expires_at=int(time.time()) + CODE_LIFETIME,
            )
        )

    def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        session = self.server.session
        row = session.get(AuthorizationCode, digest(code), with_for_update=True)
        if row is None or row.authorization.client_id != client.client_id:
            return None
        if row.used_at is not None:
            revoke(session, row.authorization)
        return row if row.used_at is None and row.expires_at > time.time() else None

    def authenticate_user(self, authorization_code: AuthorizationCode) -> Subject | None:
        return subject_of(self.server, self.asked, authorization_code.authorization)

    def delete_authorization_code(self, authorization_code: AuthorizationCode) -> None:
        authorization_code.used_at = int(time.time())


class RefreshGrant(IsthmusGrant, RefreshTokenGrant):
    """Refresh tokens: each is replaced at its first use; a second use ends the authorization."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        session = self.server.session
        row = session.get(RefreshToken, digest(refresh_token), with_for_update=True)
        if row is None:
            return None
        if row.rotated_at is not None:
            revoke(session, row.authorization)
        valid = row.rotated_at is None and row.expires_at > time.time()
        return row if valid and subject_of(self.server, self.asked, row.authorization) else None

    def authenticate_user(self, refresh_token: RefreshToken) -> Subject | None:
        return subject_of(self.server, self.asked, refresh_token.authorization)

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        refresh_token.rotated_at = int(time.time())


class OwnGrant(IsthmusGrant, ClientCredentialsGrant):
    """A confidential client that acts for itself, as the account of the same id."""

    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL_METHODS

    def create_token_response(self) -> TokenAnswer:  # pyright: ignore[reportIncompatibleMethodOverride]
        account = self.server.session.get(Account, self.client.client_id)
        if account is None or account.disabled:
            raise UnauthorizedClientError("This client may not act for itself.")
        wanted = self.asked.get("scope")
        scopes = [scope for scope in known_scopes(wanted) if scope != OFFLINE] if wanted else list(SCOPES)
        if not scopes:
            raise InvalidScopeError("None of the scopes is known here.")
        resource = find_resource(self.server.session, self.server.origins, self.client, self.asked.get("resource"))
        subject = Subject(account.id, None, resource.namespace, resource.url)
        token = self.generate_token(user=subject, scope=" ".join(scopes), include_refresh_token=False)
        return 200, token, list(self.TOKEN_RESPONSE_HEADER)


def subject_of(server: IsthmusServer, asked: Parameters, authorization: Authorization) -> Subject | None:
    """Who the authorization speaks for; None: nobody any more. The resource may be repeated, not changed."""
    if authorization.revoked_at is not None or authorization.account.disabled:
        return None
    audience = authorization.resource
    if url := asked.get("resource"):
        client = server.session.get_one(Client, authorization.client_id)
        resource = find_resource(server.session, server.origins, client, url)
        if resource.namespace != authorization.namespace:
            raise InvalidTargetError("The resource is not the one that was authorized.")
        audience = resource.url
    return Subject(authorization.account_id, authorization.sid, authorization.namespace, audience)


def _printable(text: str) -> str:
    """Error descriptions are limited to some ASCII characters (RFC 6749, section 5.2)."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " _-") else "?" for c in text)[:100]
