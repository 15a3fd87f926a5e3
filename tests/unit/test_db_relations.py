"""What relations between tables are called."""

import pytest

from isthmus_db_worker.relations import Relation, find_relation, relations_of
from isthmus_db_worker.tables import ForeignKey

KEYS = (
    ForeignKey("orders", ("customer_id",), "customers", ("id",)),
    ForeignKey("orders", ("seller_id",), "employees", ("id",)),
    ForeignKey("orders", ("packer_id",), "employees", ("id",)),
    ForeignKey("employees", ("manager_id",), "employees", ("id",)),
    ForeignKey("lines", ("orderId",), "orders", ("id",)),
    ForeignKey("crm.notes", ("status",), "orders", ("id",)),
    ForeignKey("parts", ("maker", "number"), "catalog", ("maker", "number")),
)
COLUMNS = {"orders": ["id", "customer_id", "seller_id", "packer_id", "notes"], "employees": ["id", "manager_id"]}


def names(table: str) -> dict[str, tuple[str, bool]]:
    found = relations_of(table, COLUMNS.get(table, []), KEYS)
    return {name: (relation.table, relation.many) for name, relation in found.items()}


def test_a_relation_to_one_row_has_the_name_of_its_column_and_one_to_many_that_of_its_table() -> None:
    assert names("orders") == {
        "customer": ("customers", False),
        "seller": ("employees", False),
        "packer": ("employees", False),
        "lines": ("lines", True),
        "notes_by_status": ("crm.notes", True),  # `notes` is a column
    }
    assert names("customers") == {"orders": ("orders", True)}
    assert names("lines") == {"order": ("orders", False)}
    assert names("parts") == {"catalog": ("catalog", False)}


def test_where_a_short_name_would_mean_two_things_the_long_one_is_used() -> None:
    assert names("employees") == {
        "manager": ("employees", False),
        "orders_by_seller_id": ("orders", True),
        "orders_by_packer_id": ("orders", True),
        "employees_by_manager_id": ("employees", True),
    }


def test_a_foreign_key_that_is_there_twice_is_one_relation() -> None:
    assert list(relations_of("orders", COLUMNS["orders"], KEYS * 2)) == list(names("orders"))


def test_a_relation_carries_the_columns_of_both_ends() -> None:
    parts = relations_of("parts", [], KEYS)["catalog"]
    assert (parts.columns, parts.to_columns) == (("maker", "number"), ("maker", "number"))
    assert relations_of("orders", [], KEYS)["lines"] == Relation("lines", "lines", ("id",), ("orderId",), many=True)


@pytest.mark.parametrize("text", ["customer", "CUSTOMER", "customers", "customers_by_customer_id"])
def test_other_spellings_are_understood_where_they_mean_one_thing(text: str) -> None:
    found = find_relation(relations_of("orders", COLUMNS["orders"], KEYS), text)
    assert found is not None
    assert found.name == "customer"


def test_a_table_that_two_relations_lead_to_names_neither() -> None:
    assert find_relation(relations_of("orders", COLUMNS["orders"], KEYS), "employees") is None
