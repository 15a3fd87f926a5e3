"""Tables and files in the console: what whoever is signed in may see, and nothing more."""

import re
from collections.abc import Generator
from html import unescape

import httpx2
import pytest

from administrator import Administrator
from console_stack import ConsoleStack, console_stack

PAINTED = "reports/revenue-2026.png"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[ConsoleStack]:
    with console_stack(tmp_path_factory.mktemp("console")) as running:
        (running.documents / "hostile").mkdir()
        (running.documents / "hostile" / "<b>page.txt").write_text("<script>alert(1)</script>\n" * 500)
        (running.documents / "many").mkdir()
        for number in range(120):
            (running.documents / "many" / f"{number:03}.txt").write_text(str(number))
        yield running


@pytest.fixture(scope="module")
def narrow(stack: ConsoleStack) -> Administrator:
    """An administrator who sees some of the orders, without their notes and with masked costs, and one folder."""
    grants = [
        {"sources": ["db.shop"], "actions": ["read"], "objects": ["orders"], "hidden": ["note"],
         "masked": ["shipping_cost"], "rows": "id <= 3"},
        {"sources": ["file.documents"], "actions": ["read"], "objects": ["meetings/**"]},
    ]  # fmt: skip
    stack.admin.done("PUT", "/roles/narrow", {"name": "Narrow", "grants": grants})
    asked = {"email": "nora@example.com", "password": "a passphrase of nora", "is_admin": True, "roles": ["narrow"]}
    stack.admin.done("POST", "/people", asked)
    return Administrator(stack.auth, "nora@example.com", "a passphrase of nora")


def visit(who: Administrator, place: str, status: int = 200, **query: str) -> httpx2.Response:
    page = who.browser.http.get(f"/admin/browse/{place}", params=query)
    assert page.status_code == status, shown(page)
    return page


def shown(page: httpx2.Response) -> str:
    """The text of the page's content, as somebody reads it."""
    return unescape(re.sub(r"<[^>]+>", " ", page.text.partition('id="content"')[2]))


def next_page(who: Administrator, page: httpx2.Response) -> httpx2.Response:
    found = re.search(r'<a rel="next" href="([^"]+)"', page.text)
    assert found is not None
    return who.browser.http.get(unescape(found[1]))


def test_a_database_shows_its_tables_and_finds_them(stack: ConsoleStack) -> None:
    text = shown(visit(stack.admin, "db.shop"))
    assert "customers" in text
    assert "revenue_by_month" in text
    found = shown(visit(stack.admin, "db.shop", search="order"))
    assert "order_items" in found
    assert "customers" not in found
    assert "No table has “zebra”" in shown(visit(stack.admin, "db.shop", search="zebra"))


def test_a_table_shows_columns_keys_relations_and_rows(stack: ConsoleStack) -> None:
    text = shown(visit(stack.admin, "db.shop/table", table="orders"))
    assert "Primary key:  id" in text
    assert re.search(r"customer_id\s+→\s+customers", text)
    assert re.search(r"order_items\s+\(\s*order_id\s*\)\s+→", text)
    assert "SO-2024-00001" in text


def test_rows_are_filtered_sorted_and_come_a_page_at_a_time(stack: ConsoleStack) -> None:
    first = visit(stack.admin, "db.shop/table", table="orders", rows="id <= 40", order="-id")
    numbers = re.findall(r"SO-2024-(\d{5})", first.text)
    assert [int(number) for number in numbers] == list(range(40, 15, -1))
    second = next_page(stack.admin, first)
    assert [int(number) for number in re.findall(r"SO-2024-(\d{5})", second.text)] == list(range(15, 0, -1))
    assert 'rel="next"' not in second.text


def test_a_filter_that_cannot_be_read_is_said_and_the_table_stays(stack: ConsoleStack) -> None:
    text = shown(visit(stack.admin, "db.shop/table", 400, table="orders", rows="id ==="))
    assert "The filter cannot be read" in text
    assert "Primary key:  id" in text


def test_hidden_columns_masked_values_and_rows_of_others_stay_so(stack: ConsoleStack, narrow: Administrator) -> None:
    text = shown(visit(narrow, "db.shop"))
    assert "orders" in text
    assert "customers" not in text
    page = visit(narrow, "db.shop/table", table="orders", order="-id")
    text = shown(page)
    assert sorted(re.findall(r"SO-2024-\d{5}", text)) == [f"SO-2024-0000{n}" for n in (1, 2, 3)]
    assert "note" not in text
    assert re.search(r"shipping_cost\s+masked", text)
    assert "9.9" not in text
    assert "There is no table customers" in shown(visit(narrow, "db.shop/table", 404, table="customers"))
    for filter_on in ("note is not null", "shipping_cost > 9"):
        assert "SO-2024" not in shown(visit(narrow, "db.shop/table", 400, table="orders", rows=filter_on))


def test_files_have_folders_crumbs_and_previews(stack: ConsoleStack) -> None:
    root = visit(stack.admin, "file.documents")
    assert "reports/" in shown(root)
    folder = visit(stack.admin, "file.documents", path="reports")
    assert "path=reports%2Fmonthly-sales.csv" in folder.text
    text = visit(stack.admin, "file.documents/file", path="handbook.txt")
    assert "An invoice is issued on the day of shipping" in text.text
    table = visit(stack.admin, "file.documents/file", path="reports/monthly-sales.csv")
    assert '<th scope="col">revenue</th>' in table.text
    picture = visit(stack.admin, "file.documents/file", path=PAINTED)
    assert '<img class="answer" src="data:image/png;base64,' in picture.text
    assert "img-src 'self' data:" in picture.headers["content-security-policy"]
    document = visit(stack.admin, "file.documents/file", path="reports/price-list-2026.pdf")
    assert "Harbour Blend" in document.text


def test_long_folders_and_files_come_a_page_at_a_time(stack: ConsoleStack) -> None:
    first = visit(stack.admin, "file.documents", path="many")
    assert "099.txt" in first.text
    assert "100.txt" not in first.text
    assert "119.txt" in next_page(stack.admin, first).text
    begun = visit(stack.admin, "file.documents/file", path="hostile/<b>page.txt")
    assert begun.text.count("&lt;script&gt;") == 200
    assert "<script>alert" not in begun.text
    assert "<b>page" not in begun.text
    assert next_page(stack.admin, begun).text.count("&lt;script&gt;") == 200


def test_files_are_found_by_name_and_by_what_is_in_them(stack: ConsoleStack) -> None:
    names = shown(visit(stack.admin, "file.documents", search="price", where="names"))
    assert "price-list-2026.pdf" in names
    contents = shown(visit(stack.admin, "file.documents", search="overdue", where="contents"))
    assert "handbook.txt" in contents
    assert "it is overdue and the account manager calls" in contents


def test_paths_that_are_not_granted_are_not_there(stack: ConsoleStack, narrow: Administrator) -> None:
    text = shown(visit(narrow, "file.documents"))
    assert "meetings/" in text
    assert "reports/" not in text
    assert "handbook" not in text
    closed = shown(visit(narrow, "file.documents/file", 404, path="handbook.txt"))
    assert "day of shipping" not in closed
    visit(stack.admin, "file.documents/file", 404, path="../auth/auth.db")
    assert "overdue" not in shown(visit(narrow, "file.documents", search="handbook", where="names"))


def test_a_source_that_is_not_open_is_said_to_be_so(stack: ConsoleStack) -> None:
    assert "is not open to you here" in shown(visit(stack.admin, "db.nowhere", 404))
    stack.admin.done("POST", "/services", {"namespace": "papers", "label": "Papers", "sources": ["file.*"]})
    closed = visit(stack.admin, "db.shop", 404, service="papers")
    assert "customers" not in closed.text
    assert "handbook.txt" in shown(visit(stack.admin, "file.documents", service="papers"))


def test_each_page_links_the_call_that_it_was_made_with(stack: ConsoleStack) -> None:
    page = visit(stack.admin, "db.shop/table", table="orders", rows="id < 3")
    found = re.search(r'<a class="button" href="(/admin/playground[^"]+)">As a call', page.text)
    assert found is not None
    form = stack.admin.browser.http.get(unescape(found[1]))
    assert 'value="id &lt; 3"' in form.text


def test_a_gateway_that_is_away_is_one_sentence(stack: ConsoleStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_auth.gateway_client.LIST_WITHIN", 0.001)
    page = visit(stack.admin, "db.shop", 502)
    assert "did not answer within" in shown(page)
