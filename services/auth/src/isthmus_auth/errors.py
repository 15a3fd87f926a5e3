"""Errors turned into answers: JSON for programs, a page for people, and nothing about how it works inside."""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from authlib.oauth2 import OAuth2Error
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Redirect
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from isthmus_auth.answers import Refusal, error_page, json_answer
from isthmus_auth.browser import Browser
from isthmus_auth.headers import PROTOCOL
from isthmus_auth.pages import sign_in_first
from isthmus_auth.server import Answer
from isthmus_auth.sign_ins import ADMIN
from isthmus_auth.site import Site

logger = logging.getLogger("isthmus_auth")

SENTENCES = {
    404: "There is no such page.",
    405: "That cannot be done here.",
    413: "The request is too long.",
}


def handlers() -> dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any] | Redirect]]:
    """Who answers for which exception."""
    return {
        OAuth2Error: _protocol_error,
        HTTPException: _http_error,
        OperationalError: _no_database,
        PoolTimeoutError: _no_database,
        Exception: _unexpected,
    }


def _protocol_error(request: Request[Any, Any, Any], error: OAuth2Error) -> Response[Any]:
    description = error.description or "The request is not valid."
    return _answer(request, error.status_code, error.error or "invalid_request", description)


def _http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any] | Redirect:
    if error.status_code == 401 and f"{request.url.path}/".startswith(ADMIN):
        return _sign_in_first(request)
    if isinstance(error, ValidationException):
        return _answer(request, 400, "invalid_request", _what_is_wrong(error))
    known = SENTENCES.get(error.status_code, "The request is not valid.")
    return _answer(request, error.status_code, "invalid_request", error.detail if isinstance(error, Refusal) else known)


def _no_database(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    logger.error("the database does not answer: %s", type(error).__name__)
    sentence = "The server cannot answer at the moment. Try again in a minute."
    return _answer(request, 503, "temporarily_unavailable", sentence)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(request, 500, "server_error", "Something went wrong here; the log of the server has the reason.")


def _sign_in_first(request: Request[Any, Any, Any]) -> Response[Any] | Redirect:
    """To the sign-in page, and from there to the page of the console that was asked for."""
    if request.headers.get("hx-request"):  # a part of a page, which only the whole page can leave
        return Response(b"", status_code=401, headers={"HX-Refresh": "true"})
    query = f"?{request.url.query}" if request.url.query else ""
    then = f"{request.url.path}{query}" if request.method == "GET" else ADMIN
    site: Site = request.app.state.site
    return sign_in_first(Browser.of(request, site.origins), site, then)


def _answer(request: Request[Any, Any, Any], status: int, code: str, sentence: str) -> Response[Any]:
    path = request.url.path
    if path in PROTOCOL or path.startswith(("/mcp-services/", "/api/")):
        return json_answer(Answer(status, {"error": code, "error_description": sentence}))
    return error_page(sentence, status)


class _Found(msgspec.Struct):
    """What the library says of one thing that is wrong in a body or query."""

    message: str = "The request is not valid"
    key: str = ""


def _what_is_wrong(error: ValidationException) -> str:
    """The first of them, as a sentence."""
    try:
        found = msgspec.convert(error.extra, list[_Found])[0]
    except (msgspec.ValidationError, IndexError):
        found = _Found()
    return f"{found.key}: {found.message}." if found.key and found.key != "data" else f"{found.message}."
