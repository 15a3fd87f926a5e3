"""The forms of an answer: a page for people, JSON for programs, a redirect for browsers."""

import msgspec
from litestar import MediaType, Response
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException
from litestar.response import Redirect, Template

from isthmus_auth.server import Answer


class Refusal(HTTPException):
    """An answer that is not what was asked for, with a sentence that may be shown."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status_code=status, detail=sentence)


def error_page(sentence: str, status: int) -> Template:
    """A page that says what went wrong."""
    return Template("error.html", context={"message": sentence}, status_code=status)


def json_answer(answer: Answer) -> Response[bytes]:
    """A protocol answer as an HTTP response."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-type"}
    body = msgspec.json.encode(answer.body)
    return Response(body, status_code=answer.status, headers=headers, media_type=MediaType.JSON)


def see_other(location: str, *cookies: Cookie) -> Redirect:
    """To another page, by GET."""
    return Redirect(location, status_code=303, cookies=list(cookies))
