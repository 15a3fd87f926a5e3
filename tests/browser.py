"""A person with a browser that has no JavaScript: reads a page, fills its form, follows redirects."""

import ssl
from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx2

from servers import TLS


class Form(HTMLParser):
    """A form of a page, as a browser without JavaScript sees it: the first one; or the one that does `action`, or the
    first that is sent to `at`."""

    def __init__(self, html: str, action: str = "", at: str = "") -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.boxes: list[tuple[str, str]] = []
        """Those that are ticked."""
        self.offered: list[tuple[str, str]] = []
        """All of them."""
        self.buttons: list[tuple[str, str]] = []
        self._wanted = action
        self._at = at
        self._inside = False
        self._text = ""
        """The name of the field of several lines, or of the list, that is being read."""
        self._chosen = False
        """Whether the list has an entry that is shown: the first one, or the one that is selected."""
        self._found = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        here = not self._at or (given.get("action"), given.get("method")) == (self._at, "post")
        if tag == "form" and not self._found and "hidden" not in given and here:
            self._begin()
            self.action, self._inside = given["action"], True
        if not self._inside:
            return
        if tag == "input" and given.get("type") in ("checkbox", "radio"):
            self.offered.append((given["name"], given["value"]))
            if "checked" in given:
                self.boxes.append((given["name"], given["value"]))
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag in ("textarea", "select"):
            self._text = given["name"]
            self.fields[self._text], self._chosen = "", False
        elif tag == "option" and ("selected" in given or not self._chosen):
            self.fields[self._text], self._chosen = given["value"], True
        elif tag == "button" and "name" in given:
            self.buttons.append((given["name"], given["value"]))

    def handle_data(self, data: str) -> None:
        if self._inside and self.lasttag == "textarea" and self._text:
            self.fields[self._text] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("textarea", "select"):
            self._text = ""
        if tag == "form" and self._inside:
            self._inside = False
            self._found = not self._wanted or ("action", self._wanted) in self.buttons

    def _begin(self) -> None:
        self.fields, self.boxes, self.offered, self.buttons = {}, [], [], []


class Browser:
    """Keeps cookies; follows redirects until they leave `inside`."""

    def __init__(self, inside: str, tls: ssl.SSLContext = TLS, cookies: httpx2.Cookies | None = None) -> None:
        self.http = httpx2.AsyncClient(timeout=10, verify=tls, cookies=cookies)
        self.inside = inside
        self.page: httpx2.Response | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def open(self, url: str) -> str:
        """The address where the redirects end: a page of this site, or the first address outside of it."""
        return await self._follow(await self.http.get(url))

    async def submit(self, *, only: dict[str, list[str]] | None = None, **values: str) -> str:
        """Sends the page's form with these values; `only` narrows check boxes to the given values."""
        assert self.page is not None
        form = Form(self.page.text)
        boxes = [(name, value) for name, value in form.boxes if value in (only or {}).get(name, [value])]
        body = urlencode([*{**form.fields, **values}.items(), *boxes])
        target = urljoin(str(self.page.url), form.action)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.inside}
        return await self._follow(await self.http.post(target, content=body, headers=headers))

    async def _follow(self, response: httpx2.Response) -> str:
        for _ in range(10):
            self.page = response
            if response.status_code not in (302, 303, 307):
                return str(response.url)
            target = urljoin(str(response.url), response.headers["location"])
            if not target.startswith(self.inside):
                return target
            response = await self.http.get(target)
        raise AssertionError("the redirects do not end")
