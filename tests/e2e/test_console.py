"""The console in a real browser, on the whole product: from nothing to an AI client that lists tables.

With `ISTHMUS_SCREENSHOTS` these tests leave pictures of all pages in that folder: `make screenshots`.
"""

import asyncio
import io
import os
import queue
import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp.shared.auth import OAuthClientInformationFull
from PIL import Image
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Locator, Page, ViewportSize, expect
from pydantic import AnyUrl

from chromium import chromium
from node import installed
from stack import REDIRECT, Person, Stack, Storage, running_stack

WIDE, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
PICTURES = os.environ.get("ISTHMUS_SCREENSHOTS", "")

PAGES = {
    "overview": "/admin/",
    "services": "/admin/services",
    "service-new": "/admin/new-service",
    "service-connect": "/admin/services/sales",
    "service-docs": "/admin/services/sales/docs",
    "service-settings": "/admin/services/sales/settings",
    "catalog": "/admin/catalog",
    "catalog-add": "/admin/catalog/add",
    "source": "/admin/catalog/db.shop",
    "playground": "/admin/playground",
    "playground-tool": "/admin/playground?service=default&tool=query_table",
    "browse-database": "/admin/browse/db.shop",
    "browse-table": "/admin/browse/db.shop/table?table=orders",
    "people": "/admin/people",
    "person-new": "/admin/new-person",
    "person": "/admin/people/{person}",
    "roles": "/admin/roles",
    "role": "/admin/roles/sales-readers",
    "keys": "/admin/keys",
    "key-new": "/admin/new-key",
    "clients": "/admin/clients",
    "client": "/admin/client?client_id=isthmus-cli",
    "client-new": "/admin/new-client",
    "apps": "/admin/apps",
    "sessions": "/admin/sessions",
    "providers": "/admin/providers",
    "provider-new": "/admin/new-provider",
    "audit": "/admin/audit",
}
"""What the pictures are called, and what they are of."""


SEEN = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size", "meta-viewport"]
"""What axe finds by colours and sizes; the rest is the same in both."""


@pytest.fixture(scope="module")
def product(request: pytest.FixtureRequest) -> Generator[Stack]:
    """The stack that all tests share; for pictures one with the demo alone."""
    if not PICTURES:
        yield request.getfixturevalue("stack")
        return
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    with running_stack(factory.mktemp("console") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Generator[Chromium]:
    with chromium() as opened:
        yield opened


def opened(browser: Chromium, product: Stack, viewport: ViewportSize = WIDE, **options: Any) -> BrowserContext:
    """A profile of its own, in which everything that goes wrong on a page fails the test."""
    context = browser.new_context(base_url=product.connection.issuer, viewport=viewport, **options)
    context.set_default_timeout(10_000)
    context.on("weberror", lambda error: pytest.fail(f"{error.error}"))
    context.on("console", lambda said: pytest.fail(said.text) if said.type in ("error", "warning") else None)
    return context


def signed_in(context: BrowserContext, product: Stack, path: str = "/admin/") -> Page:
    page = context.new_page()
    page.goto(path)
    page.get_by_label("E-mail address").fill(product.connection.admin_email)
    page.get_by_label("Password").fill(product.connection.admin_password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def copied(page: Page, term: str) -> str:
    """The value beside a term."""
    return page.locator("dt", has_text=term).locator("+ dd code").first.inner_text()


@dataclass
class InChromium(Person):
    """Somebody whose MCP client opens the real browser."""

    opening: "queue.Queue[str]" = field(default_factory=lambda: queue.Queue())
    answers: "queue.Queue[str]" = field(default_factory=lambda: queue.Queue())

    async def visit(self, url: str) -> None:
        self.opening.put(url)
        self.answer = await asyncio.to_thread(self.answers.get, timeout=20)


def allow(page: Page, url: str, *, also: str = "") -> str:
    """Signs in to what a client asks for, and allows it; where the client is answered."""
    page.route(f"{REDIRECT}**", lambda route: route.fulfill(body="You can close this window."))
    page.goto(url)
    if also:
        page.get_by_text(also).click()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{REDIRECT}**")
    return page.url


@pytest.mark.timeout(60)
def test_from_nothing_to_an_ai_client_that_lists_tables(
    browser: Chromium, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if PICTURES:
        _tutorial(browser, request.getfixturevalue("product"))
        return
    with running_stack(tmp_path / "data") as product:
        _tutorial(browser, product)


def _tutorial(browser: Chromium, product: Stack) -> None:
    context = opened(browser, product, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(product.connection.admin_url)
    expect(page.get_by_label("Password")).to_be_visible()
    assert product.connection.mcp_endpoint not in page.content()
    page = signed_in(context, product)
    expect(page.get_by_role("heading", name="Welcome to Isthmus")).to_be_visible()
    expect(page.get_by_text("2 sources on the bus")).to_be_visible()

    page.get_by_role("link", name="Create one of your own").click()
    page.get_by_label("Namespace").press_sequentially("Sales data")
    expect(page.locator("#namespace-said")).to_contain_text("Lower-case letters and digits, a letter first")
    page.get_by_label("Namespace").fill("sales")
    expect(page.locator("#namespace-said")).to_contain_text("It is free. The endpoint will be")
    page.get_by_label("Label").fill("Sales data")
    page.get_by_label("Description").fill("Orders and customers, for the sales team")
    page.get_by_text("Advanced:").click()
    expect(page.get_by_label("Custom login URL")).to_be_visible()
    page.get_by_role("button", name="Create the service").click()

    secret = page.locator(".kept code").inner_text()
    page.get_by_role("button", name="Copy the secret").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    endpoint, client_id = copied(page, "MCP endpoint"), copied(page, "Client ID")
    assert endpoint == f"{product.connection.mcp_endpoint}/sales"

    # reload: the secret was shown that once; this page stays open, and is to see the client come
    page.goto("/admin/services/sales")
    expect(page.get_by_text(secret)).to_have_count(0)
    line = page.locator("#connected-other")
    expect(line).to_have_text("not yet")
    docs = context.new_page()
    docs.goto("/admin/services/sales/docs")
    assert copied(docs, "mcp_endpoint") == endpoint
    about = docs.request.get(copied(docs, "About it")).json()
    assert about["mcp_endpoint"] == endpoint

    client = OAuthClientInformationFull(
        client_id=client_id,
        client_secret=secret,
        redirect_uris=[AnyUrl(REDIRECT)],
        token_endpoint_auth_method="client_secret_post",
    )
    connection = msgspec.structs.replace(product.connection, mcp_endpoint=endpoint)
    person = InChromium(connection, Storage(client=client))

    async def list_tables() -> tuple[list[str], str]:
        async with person.client() as connected:
            tools = [tool.name for tool in (await connected.list_tools()).tools]
            tables = await connected.call_tool("list_tables", {"database": "shop"})
            return tools, tables.content[0].text  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]

    with ThreadPoolExecutor(1) as threads:
        listing = threads.submit(lambda: asyncio.run(list_tables()))
        person.answers.put(allow(docs, person.opening.get(timeout=10)))
        tools, tables = listing.result(20)
    assert "list_tables" in tools
    assert "customers" in tables

    expect(line).to_contain_text("✓ connected by admin@localhost", timeout=5000)
    expect(line).to_have_class(re.compile("good"))
    docs.goto("/admin/audit?event=call&service=sales&tool=list_tables")
    expect(docs.locator(".event")).to_have_count(1)
    docs.goto("/admin/")
    expect(docs.get_by_role("heading", name="Overview")).to_be_visible()
    expect(docs.locator(".event", has_text="list_tables")).to_have_count(1)
    expect(docs.locator(".event time").first).to_have_attribute("title", re.compile(r"\d"))
    context.close()


def test_a_role_shows_what_it_does_while_it_is_edited(browser: Chromium, product: Stack) -> None:
    context = opened(browser, product)
    page = signed_in(context, product, "/admin/new-role")
    page.get_by_label("Id", exact=True).fill("sales-readers")
    page.get_by_label("Name", exact=True).fill("Sales, reading")
    page.get_by_label("In the sources").fill("db.shop")
    page.get_by_label("On tables or paths").fill("customers\norders")
    seen = page.get_by_role("region", name="What is seen")
    mine: Locator = seen.get_by_role("row", name="sales-readers")
    expect(mine).to_contain_text("customers, orders")
    page.get_by_label("create", exact=True).check()
    expect(mine).to_contain_text("read, create")
    page.get_by_label("create", exact=True).uncheck()
    expect(mine).not_to_contain_text("create")
    page.get_by_text("Rows and columns").click()
    page.get_by_label("Only rows where").fill("country = {user.country}")
    expect(mine).to_contain_text("only rows where country = {user.country}")
    page.get_by_label("Name", exact=True).press("Enter")
    expect(page.get_by_role("status")).to_have_text("It is made.")

    page.goto("/admin/new-person")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Sales, reading").check()
    page.get_by_label("Attributes").fill("country = AT")
    page.get_by_role("button", name="Add the person").click()
    expect(page.get_by_role("heading", name="The first password")).to_be_visible()
    expect(page.get_by_role("region", name="What is seen")).to_contain_text(
        "Nothing in the role sales-readers is about"
    )
    context.close()


def test_a_destructive_action_asks_and_lists_search_as_somebody_types(browser: Chromium, product: Stack) -> None:
    context = opened(browser, product)
    page = signed_in(context, product, "/admin/new-service")
    page.get_by_label("Namespace").fill("shortlived")
    page.get_by_label("Label").fill("Short-lived")
    page.get_by_role("button", name="Create the service").click()
    page.goto("/admin/services")
    page.get_by_role("searchbox").press_sequentially("short")
    expect(page).to_have_url(re.compile("search=short"))
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("link", name="Short-lived").click()
    page.get_by_role("link", name="Settings", exact=True).click()
    delete = page.get_by_role("button", name="Delete the service")
    expect(delete).to_be_hidden()
    page.get_by_text("Delete the service…").click()
    delete.click()
    expect(page.get_by_role("status")).to_have_text("It is deleted.")
    context.close()


def test_the_catalog_and_the_trail_change_by_themselves(browser: Chromium, product: Stack) -> None:
    context = opened(browser, product)
    catalog = signed_in(context, product, "/admin/catalog?search=shop")
    calls = catalog.locator("#sources td[data-label=Calls]").first
    before = calls.inner_text()
    catalog.get_by_role("searchbox").focus()
    trail = context.new_page()
    trail.goto("/admin/audit?tool=describe_table&follow=true")
    seen = trail.locator(".event").count()
    called = product.command("call", "describe_table", '{"database": "shop", "table": "orders"}')
    assert called.returncode == 0, called.stderr
    expect(trail.locator(".event")).to_have_count(seen + 1)
    expect(calls).not_to_have_text(before)
    expect(catalog.get_by_role("searchbox")).to_be_focused()
    context.close()


def test_the_console_is_used_with_the_keyboard_and_on_a_phone(browser: Chromium, product: Stack) -> None:
    context = opened(browser, product, PHONE, has_touch=True)
    page = signed_in(context, product)
    navigation = page.get_by_role("navigation", name="Console")
    expect(navigation).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    expect(navigation).to_be_visible()
    page.keyboard.press("Escape")
    expect(navigation).to_be_hidden()
    page.get_by_role("button", name="Menu").tap()
    navigation.get_by_role("link", name="People").tap()
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    context.close()


@pytest.mark.timeout(120)
def test_every_page_is_accessible_and_fits_in_the_light_and_on_a_phone_in_the_dark(
    browser: Chromium, product: Stack
) -> None:
    axe = (installed().modules / "axe-core" / "axe.min.js").read_text()
    context = opened(browser, product)
    page = signed_in(context, product)
    found: list[str] = []
    for name, path in _there(page).items():
        page.goto(path)
        page.evaluate(axe)
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        found += [f"{path}, light: {problem}" for problem in _problems(page, {})]
        if PICTURES:
            _keep(page, Path(PICTURES), name)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        found += [f"{path}, dark: {problem}" for problem in _problems(page, {"runOnly": SEEN})]
        if PICTURES:
            _keep(page, Path(PICTURES), f"{name}-phone")
    context.close()
    assert not found, "\n".join(found)


def _problems(page: Page, only: dict[str, list[str]]) -> list[str]:
    """What axe takes for serious, and what does not fit."""
    results = page.evaluate("only => axe.run(document, {resultTypes: ['violations'], ...only})", only)
    found = [
        f"{one['id']} ({one['help']}) at {[node['target'] for node in one['nodes'][:3]]}"
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return [*found, "wider than the window"] if too_wide else found


def _keep(page: Page, folder: Path, name: str) -> None:
    """A picture in few colours, since pages have no more."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    taken.convert("RGB").quantize(128).save(folder / f"{name}.png", optimize=True)


def _there(page: Page) -> dict[str, str]:
    """The pages, after what they are about is made if need be."""
    answer = page.request.get("/api/admin/me").json()
    headers = {"X-CSRF-Token": answer["csrf_token"]}
    grants = [{"sources": ["db.shop"], "actions": ["read"], "objects": ["customers", "orders"]}]
    for method, path, body in (
        ("POST", "/services", {"namespace": "sales", "label": "Sales data", "description": "For the sales team"}),
        ("PUT", "/roles/sales-readers", {"name": "Sales, reading", "grants": grants}),
        ("POST", "/people", {"email": "ben@example.com", "roles": ["sales-readers"]}),
        ("POST", "/keys", {"name": "Nightly report", "scopes": ["data:read"]}),
    ):
        page.request.fetch(f"/api/admin{path}", method=method, data=body, headers=headers)
    found = page.request.get("/api/admin/people?search=ben@example.com").json()
    return {name: path.format(person=found["people"][0]["id"]) for name, path in PAGES.items()}
