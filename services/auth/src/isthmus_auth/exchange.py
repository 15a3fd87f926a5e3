"""A token exchanged for a narrower one (RFC 8693): fewer scopes, for another client, never for longer."""

import time
from typing import cast

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError, TokenEndpointMixin, UnauthorizedClientError

from isthmus_auth.flows import IsthmusGrant, TokenAnswer
from isthmus_auth.models import Client
from isthmus_auth.requested import OFFLINE, InvalidTargetError, find_resource, known_scopes
from isthmus_auth.server import CONFIDENTIAL_METHODS
from isthmus_auth.signing import Subject
from isthmus_auth.validity import is_active

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  (a name)


class ExchangeGrant(IsthmusGrant, TokenEndpointMixin):
    """For clients that an administrator allowed it: with a token of their own, or one that was sent to their service.

    The new token is of the same session and service, so whatever ends the first ends the second, and what the person
    shared is shared no further.
    """

    GRANT_TYPE = EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL_METHODS

    def validate_token_request(self) -> None:
        client = cast("Client", self.authenticate_token_endpoint_client())
        self.request.client = client
        if not client.check_grant_type(EXCHANGE):
            raise UnauthorizedClientError("This client is not set up for token exchange.")
        if self.asked.get("actor_token"):
            raise InvalidRequestError("There is no use for an actor_token here: the client itself is the actor.")
        if self.asked.get("requested_token_type") not in ("", ACCESS_TOKEN):
            raise InvalidRequestError("The only tokens to be had are access tokens.")
        if self.asked.get("subject_token_type") != ACCESS_TOKEN:
            raise InvalidRequestError("The subject_token must be an access token, and subject_token_type say so.")
        claims = self.server.claims(self.asked.get("subject_token"))
        known = claims is not None and (
            claims.client_id == client.client_id or (client.namespace or "") == claims.service
        )
        if claims is None or not known or not is_active(self.server.session, claims):
            raise InvalidRequestError("The subject_token is not valid, or not meant for this client.")
        resource = self.asked.get("resource") or self.asked.get("audience") or claims.aud
        target = find_resource(self.server.session, self.server.origins, client, resource)
        if target.namespace != claims.service:
            raise InvalidTargetError("The new token is for the service of the old one.")
        had = [scope for scope in known_scopes(claims.scope) if scope != OFFLINE]
        wanted = self.asked.get("scope").split() or had
        if not wanted or not {*wanted} <= {*had}:
            raise InvalidScopeError("The new token has no scope that the old one has not.")
        actor = "" if claims.client_id == client.client_id else client.client_id
        self.request.user = Subject(claims.sub, claims.sid or None, target.namespace, target.url, claims.exp, actor)
        self._scope = " ".join(dict.fromkeys(wanted))

    def create_token_response(self) -> TokenAnswer:  # pyright: ignore[reportIncompatibleMethodOverride]
        token = self.generate_token(user=self.request.user, scope=self._scope, include_refresh_token=False)
        token["expires_in"] = min(int(token["expires_in"]), cast("Subject", self.request.user).until - int(time.time()))
        return 200, {**token, "issued_token_type": ACCESS_TOKEN}, list(self.TOKEN_RESPONSE_HEADER)
