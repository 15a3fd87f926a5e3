"""A person with a browser that has no JavaScript: reads a page, fills its form, follows redirects."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpx2


@dataclass
class Form(HTMLParser):
    """The fields of a page's form as a browser would send them."""

    action: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.action = found.get("action") or ""
        elif tag == "input" and (name := found.get("name")):
            if found.get("type") in ("checkbox", "radio") and "checked" not in found:
                return
            self.fields.append((name, found.get("value") or ("on" if found.get("type") == "checkbox" else "")))


class Browser:
    """Keeps cookies; follows redirects until they leave `inside`."""

    def __init__(self, inside: str) -> None:
        self.http = httpx2.AsyncClient(timeout=10)
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
        form = Form()
        form.feed(self.page.text)
        kept = [(name, value) for name, value in form.fields if name not in values]
        if only is not None:
            kept = [(name, value) for name, value in kept if name not in only or value in only[name]]
        data: dict[str, list[str]] = {}
        for name, value in [*kept, *values.items()]:
            data.setdefault(name, []).append(value)
        target = urljoin(str(self.page.url), form.action)
        return await self._follow(await self.http.post(target, data=data))

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
