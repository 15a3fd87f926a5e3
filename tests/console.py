"""An administrator in the console, with a browser that has no JavaScript."""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx2

from auth_server import Auth, Browser
from browser import Form

Boxes = Mapping[str, list[str]]


class Console:
    """Opens pages, fills in forms."""

    def __init__(self, auth: Auth) -> None:
        self.browser = Browser(auth)
        self.browser.sign_in("/admin/")

    def get(self, path: str) -> str:
        answer = self.browser.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    def send(self, path: str, at: str, boxes: Boxes | None = None, /, **fields: str) -> httpx2.Response:
        """The answer to the form of a page that goes to `at`: with these fields, and of these boxes just those."""
        form = Form(self.get(path), at=at)
        assert form.action == at, f"{path} has no form for {at}"
        values = {**form.fields, **fields}
        ticked = [(name, value) for name, value in form.boxes if name not in (boxes or {})]
        ticked += [(name, value) for name, chosen in (boxes or {}).items() for value in chosen]
        body = urlencode([*values.items(), *ticked])
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.browser.auth.url}
        return self.browser.http.post(at, content=body, headers=headers)

    def done(self, path: str, at: str, boxes: Boxes | None = None, /, **fields: str) -> str:
        """The page after that: the one that was gone on to, or the answer itself."""
        answer = self.send(path, at, boxes, **fields)
        if answer.status_code == 303:
            return self.get(answer.headers["location"])
        assert answer.status_code == 200, (answer.status_code, shown(answer.text))
        return answer.text

    def refused(self, path: str, at: str, boxes: Boxes | None = None, /, **fields: str) -> tuple[int, str]:
        """Status and sentence of a form that is not accepted."""
        answer = self.send(path, at, boxes, **fields)
        found = re.search(r'role="alert">(.*?)<', answer.text)
        assert found, answer.text
        return answer.status_code, found[1]


def shown(page: str) -> str:
    """What a page says, without its tags."""
    content = page.partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", content)).strip()
