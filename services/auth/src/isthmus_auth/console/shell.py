"""What all pages of the console share: who asks, the form that was sent, the frame around the content."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from litestar import Request
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.browser import Browser, address_of, check_form
from isthmus_auth.headers import POLICY
from isthmus_auth.parameters import FORM, LONGEST_BODY, Parameters
from isthmus_auth.site import Site

T = TypeVar("T")

SCRIPTED = {"Content-Security-Policy": f"{POLICY}; script-src 'self'; connect-src 'self'"}
"""The scripts only make pages livelier; all that matters works without."""

MOST_FIELDS = 1000
LINES = 50
"""Of a page of a list."""

DONE = {
    "made": "It is made.",
    "saved": "Your changes are saved.",
    "deleted": "It is deleted.",
    "ended": "It is ended, within a second everywhere.",
}
"""What a page says after a change, by the `done` of its address."""


async def form_of(request: Request[Any, Any, Any]) -> Parameters:
    """The form that was sent, texts of several lines among its fields; empty if none was. Raises Refusal."""
    if request.method != "POST":
        return Parameters({})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Refusal(415, f"Send the form as {FORM}.")
    return Parameters.parse(await request.body(), LONGEST_BODY, most=MOST_FIELDS, lines=True)


def asking_of(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Asking:
    """Who asks for a page, or sends a form of ours. Raises Refusal for one that is not."""
    browser = Browser.of(request, site.origins)
    if intended := request.method == "POST":
        check_form(request, site.origins, browser, form)
    return Asking(site, browser, address_of(request), intended)


async def page(
    asking: Asking,
    template: str,
    here: str,
    context: Mapping[str, object],
    *,
    done: str = "",
    refusal: Refusal | None = None,
    headers: dict[str, str] | None = None,
) -> Template:
    """A page in its frame; `here` is its place in the navigation, `refusal` why what was asked for is not done.

    Raises Refusal for who is no administrator.
    """
    email = await asking.read(lambda _, by: by.email)
    framed = {
        "email": email,
        "here": here,
        "done": DONE.get(done, ""),
        "message": str(refusal.detail) if refusal else "",
        **context,
    }
    status = refusal.status_code if refusal else 200
    return fragment(asking, template, framed, status=status, headers=headers)


async def listed(
    asking: Asking,
    template: str,
    here: str,
    at: str,
    rows: Sequence[object],
    next_after: str | None,
    *,
    search: str,
    after: str,
    done: str = "",
    more: Mapping[str, object] | None = None,
) -> Template:
    """A page of a list, which is at this address. Raises Refusal for who is no administrator."""
    context = {"at": at, "rows": rows, "search": search, "after": after, "next_after": next_after, **(more or {})}
    return await page(asking, template, here, context, done=done)


def fragment(
    asking: Asking,
    template: str,
    context: Mapping[str, object],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Template:
    """A part of a page, which the page asks for again and again. The caller has asked something of `asking` before."""
    assert isinstance(asking.caller, Browser)  # noqa: S101  (pages are for browsers)
    whole = {"csrf_token": asking.caller.csrf_token, **context}
    return Template(template, context=whole, status_code=status, headers=headers or SCRIPTED)


def go(path: str, done: str = "", *cookies: Cookie) -> Redirect:
    """On to a page, which then says what was done."""
    return see_other(f"{path}?done={done}" if done else path, *cookies)


def part(rows: list[T], name: Callable[[T], str], after: str) -> tuple[list[T], str]:
    """A page of a list that is sorted by these names, and `after` of the next page; empty: there is none."""
    left = [row for row in rows if name(row) > after]
    return left[:LINES], name(left[LINES - 1]) if len(left) > LINES else ""
