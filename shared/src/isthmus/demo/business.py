"""Two years of Quillmarsh Trading, the same ones each time: every table as typed rows in order of their columns."""

import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from isthmus.demo import words

FIRST_DAY = date(2024, 10, 1)
LAST_DAY = date(2026, 9, 30)
"""The day on which all is seen: what was paid, shipped or overdue by then."""
CUSTOMERS = 180
ORDERS = 960
SEASON = (0.85, 0.8, 0.95, 1.0, 1.0, 0.9, 0.8, 0.75, 1.0, 1.1, 1.3, 1.5)
"""How busy each month is, January first."""


class Category(NamedTuple):
    """A row of `categories`."""

    id: int
    name: str
    description: str


class Product(NamedTuple):
    """A row of `products`."""

    id: int
    sku: str
    name: str
    category_id: int
    unit_price: Decimal
    unit_cost: Decimal
    stock: int
    reorder_level: int
    discontinued: bool


class Employee(NamedTuple):
    """A row of `employees`."""

    id: int
    first_name: str
    last_name: str
    email: str
    job_title: str
    manager_id: int | None
    hired_on: date
    salary: Decimal


class Customer(NamedTuple):
    """A row of `customers`."""

    id: int
    name: str
    contact_name: str
    email: str
    city: str
    country: str
    segment: str
    account_manager_id: int
    created_on: date


class Order(NamedTuple):
    """A row of `orders`."""

    id: int
    number: str
    customer_id: int
    employee_id: int
    status: str
    ordered_at: datetime
    shipped_at: datetime | None
    shipping_cost: Decimal
    note: str | None


class OrderItem(NamedTuple):
    """A row of `order_items`."""

    order_id: int
    product_id: int
    quantity: int
    unit_price: Decimal


class Invoice(NamedTuple):
    """A row of `invoices`."""

    id: int
    number: str
    order_id: int
    issued_on: date
    due_on: date
    amount: Decimal
    status: str
    paid_on: date | None


@dataclass
class Business:
    """All rows, parents before children."""

    categories: list[Category] = field(default_factory=list[Category])
    products: list[Product] = field(default_factory=list[Product])
    employees: list[Employee] = field(default_factory=list[Employee])
    customers: list[Customer] = field(default_factory=list[Customer])
    orders: list[Order] = field(default_factory=list[Order])
    order_items: list[OrderItem] = field(default_factory=list[OrderItem])
    invoices: list[Invoice] = field(default_factory=list[Invoice])

    def monthly_sales(self) -> list[tuple[str, int, Decimal]]:
        """Month as `2026-09`, orders, revenue without shipping; cancelled orders do not count."""
        revenue = {order.id: Decimal() for order in self.orders}
        for item in self.order_items:
            revenue[item.order_id] += item.quantity * item.unit_price
        months: dict[str, list[Decimal]] = {}
        for order in self.orders:
            if order.status != "cancelled":
                months.setdefault(f"{order.ordered_at:%Y-%m}", []).append(revenue[order.id])
        return [(month, len(amounts), sum(amounts, Decimal())) for month, amounts in sorted(months.items())]


def business() -> Business:
    """The whole business; equal at every call."""
    chance = random.Random(7410)  # noqa: S311  (nothing secret depends on it)
    made = Business()
    _add_products(made, chance)
    _add_employees(made)
    _add_customers(made, chance)
    _add_orders(made, chance)
    return made


def _add_products(made: Business, chance: random.Random) -> None:
    for name, (description, goods) in words.CATALOGUE.items():
        category = Category(len(made.categories) + 1, name, description)
        made.categories.append(category)
        for position, (product, price) in enumerate(goods.items(), 1):
            made.products.append(
                Product(
                    id=len(made.products) + 1,
                    sku=f"{name[:3].upper()}-{position:03}",
                    name=product,
                    category_id=category.id,
                    unit_price=Decimal(price),
                    unit_cost=(Decimal(price) * chance.randrange(48, 66) / 100).quantize(Decimal("0.01")),
                    stock=chance.choice((0, 4, 12, 20, 35, 48, 60, 75, 90, 120, 200)),
                    reorder_level=chance.choice((10, 20, 30)),
                    discontinued=chance.random() < 0.06,
                )
            )


def _add_employees(made: Business) -> None:
    for number, (first, last, title, manager, hired, salary) in enumerate(words.STAFF, 1):
        email = f"{first}.{last}@quillmarsh.example".lower()
        made.employees.append(
            Employee(number, first, last, email, title, manager, date.fromisoformat(hired), Decimal(salary))
        )


def _add_customers(made: Business, chance: random.Random) -> None:
    sellers = [person.id for person in made.employees if "Account" in person.job_title]
    names = [f"{first} {last}" for first in words.SHOP_FIRST for last in words.SHOP_LAST]
    for number, name in enumerate(chance.sample(names, CUSTOMERS), 1):
        city, country = chance.choice(words.CITIES)
        domain = "".join(c for c in name.lower() if c.isalnum())
        made.customers.append(
            Customer(
                id=number,
                name=name,
                contact_name=f"{chance.choice(words.FIRST_NAMES)} {chance.choice(words.LAST_NAMES)}",
                email=f"orders@{domain}.example",
                city=city,
                country=country,
                segment=chance.choices(("cafe", "restaurant", "retail", "office"), (5, 2, 2, 1))[0],
                account_manager_id=chance.choice(sellers),
                created_on=FIRST_DAY - timedelta(days=chance.randrange(30, 1500)),
            )
        )


def _add_orders(made: Business, chance: random.Random) -> None:
    takers = [person.id for person in made.employees if person.job_title.startswith(("Order", "Account"))]
    days = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]
    busy = [(0.3 if day.weekday() > 4 else 1.0) * SEASON[day.month - 1] * (1 + n / 900) for n, day in enumerate(days)]
    loyalty = [min(chance.paretovariate(1.4), 12) for _ in made.customers]
    for number, day in enumerate(sorted(chance.choices(days, busy, k=ORDERS)), 1):
        ordered = datetime(day.year, day.month, day.day, 8) + timedelta(minutes=chance.randrange(600))  # noqa: DTZ001
        order = _order(number, ordered, chance.choices(made.customers, loyalty)[0], chance.choice(takers), chance)
        made.orders.append(order)
        goods = chance.sample(made.products, chance.choices((1, 2, 3, 4, 5, 6), (2, 4, 4, 3, 2, 1))[0])
        items = [_item(order, product, chance) for product in sorted(goods)]
        made.order_items.extend(items)
        if order.status != "cancelled" and order.shipped_at is not None:
            amount = order.shipping_cost + sum(item.quantity * item.unit_price for item in items)
            made.invoices.append(_invoice(len(made.invoices) + 1, order, order.shipped_at.date(), amount, chance))


def _order(number: int, ordered: datetime, customer: Customer, taker: int, chance: random.Random) -> Order:
    shipped = ordered + timedelta(days=chance.randrange(1, 6), minutes=chance.randrange(240))
    cancelled = chance.random() < 0.04
    on_the_way = shipped.date() <= LAST_DAY and not cancelled
    delivered = on_the_way and (LAST_DAY - shipped.date()).days > 3
    status = "cancelled" if cancelled else "delivered" if delivered else "shipped" if on_the_way else "open"
    return Order(
        id=number,
        number=f"SO-{ordered.year}-{number:05}",
        customer_id=customer.id,
        employee_id=taker,
        status=status,
        ordered_at=ordered,
        shipped_at=shipped if on_the_way else None,
        shipping_cost=Decimal("0.00") if chance.random() < 0.3 else Decimal(chance.choice(("6.90", "9.90", "14.50"))),
        note=chance.choice(words.NOTES) if chance.random() < 0.12 else None,
    )


def _item(order: Order, product: Product, chance: random.Random) -> OrderItem:
    """Prices rose by 4 % in 2026."""
    price = product.unit_price if order.ordered_at.year > 2025 else product.unit_price / Decimal("1.04")
    most = 4 if product.unit_price > 100 else 24
    return OrderItem(order.id, product.id, chance.randrange(1, most + 1), price.quantize(Decimal("0.01")))


def _invoice(number: int, order: Order, issued: date, amount: Decimal, chance: random.Random) -> Invoice:
    due = issued + timedelta(days=30)
    paid = issued + timedelta(days=chance.randrange(3, 42))
    settled = paid <= LAST_DAY and chance.random() < 0.97
    status = "paid" if settled else "overdue" if due < LAST_DAY else "open"
    return Invoice(
        number, f"INV-{issued.year}-{number:05}", order.id, issued, due, amount, status, paid if settled else None
    )
