"""The demo files: what lies about in the shared folder of the demo business."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from isthmus.demo import words
from isthmus.demo.business import LAST_DAY, Business, business
from isthmus.demo.drawing import bar_chart
from isthmus.demo.paper import pdf

HANDBOOK = """\
QUILLMARSH TRADING - HANDBOOK

Who we are
  We roast coffee, pack tea and supply cafes, restaurants, shops and offices
  with all that goes with the cup. Orla Quillmarsh leads the company.

Orders
  The order desk takes orders from 8 to 18. What comes in before 14 leaves the
  warehouse within five days. Orders without a shipping cost were collected.

Invoices
  An invoice is issued on the day of shipping and is due after 30 days.
  Unpaid after that, it is overdue and the account manager calls.

Prices
  Prices rose by 4 % on 1 January 2026. The price list is in
  reports/price-list-2026.pdf.

In this folder
  reports/   monthly sales, the price list, a chart
  meetings/  notes, one file a meeting
  company.json
"""

MEETING = """\
# Sales meeting, 28 September 2026

Present: Tobin Ashgrove, Maura Lindqvale, Rafe Okontree, Yuna Brackwater

## What we saw

- September began slowly; the cafes are back from their holidays now.
- Machines make most of the revenue, but coffee brings the customers back.
- Several customers asked for a smaller pack of **Lowland Decaf**.

## What we do

| who   | what                                              | until      |
|-------|---------------------------------------------------|------------|
| Maura | Call every customer with an overdue invoice       | 2026-10-09 |
| Rafe  | Offer for Lowland Decaf 250 g, with Bram          | 2026-10-16 |
| Yuna  | List of customers without an order since June     | 2026-10-09 |
| Tobin | Plan for the winter tasting in Hamburg and Ghent  | 2026-10-30 |

Next meeting: 26 October 2026.
"""


def create(folder: Path) -> None:
    """Puts the demo files into `folder`; a file that is already there stays as it is."""
    rows = business()
    contents: dict[str, Callable[[], bytes]] = {
        "handbook.txt": HANDBOOK.encode,
        "company.json": lambda: _company(rows),
        "meetings/2026-09-28-sales.md": MEETING.encode,
        "reports/monthly-sales.csv": lambda: _monthly_sales(rows),
        "reports/revenue-2026.png": lambda: _chart(rows),
        "reports/price-list-2026.pdf": lambda: _price_list(rows),
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(content())
        except FileExistsError:
            continue


def _company(rows: Business) -> bytes:
    people = {person.id: f"{person.first_name} {person.last_name}" for person in rows.employees}
    company = {
        "name": "Quillmarsh Trading",
        "founded": 2011,
        "as_of": str(LAST_DAY),
        "customers": len(rows.customers),
        "countries": sorted({country for _, country in words.CITIES}),
        "categories": {category.name: category.description for category in rows.categories},
        "team": [
            {
                "name": people[person.id],
                "job": person.job_title,
                "reports_to": people[person.manager_id] if person.manager_id else None,
            }
            for person in rows.employees
        ],
    }
    return (json.dumps(company, indent=2, ensure_ascii=False) + "\n").encode()


def _monthly_sales(rows: Business) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("month", "orders", "revenue"))
    table.writerows(rows.monthly_sales())
    return text.getvalue().encode()


def _chart(rows: Business) -> bytes:
    year = [sale for sale in rows.monthly_sales() if sale[0].startswith("2026")]
    return bar_chart([float(revenue) for _, _, revenue in year], [int(month[5:]) for month, _, _ in year])


def _price_list(rows: Business) -> bytes:
    pages: list[list[str]] = []
    for category in rows.categories:
        if len(pages) == 0 or len(pages[-1]) > 30:
            pages.append([f"Quillmarsh Trading: price list 2026, page {len(pages) + 1}"])
        pages[-1] += [f"{category.name}: {category.description}"]
        goods = [product for product in rows.products if product.category_id == category.id]
        pages[-1] += [f"    {p.sku}   {p.name}   {p.unit_price} EUR" for p in goods if not p.discontinued]
        pages[-1] += [""]
    pages[-1] += ["Prices without VAT, valid from 1 January 2026."]
    return pdf("Price list 2026", pages)
