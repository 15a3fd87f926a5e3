"""What grants leave of a database: tables, columns, rows, actions."""

from typing import Any

import pytest

from databases import Shop
from isthmus.grants import Grant
from isthmus.messages import Principal

pytest_plugins = ["database_fixtures"]

READ = Grant(sources=("db.*",), actions=("read",))


def grant(*actions: str, **options: Any) -> Grant:
    return Grant(sources=("db.*",), actions=actions, **options)


async def test_tables_without_a_grant_do_not_exist(shop: Shop) -> None:
    shop.grants = [grant("read", objects=("orders", "p*"))]
    listed = (await shop.call("list_tables")).value["tables"]
    assert [table["name"] for table in listed] == ["orders", "prices"]
    for tool in ("describe_table", "query_table"):
        outcome = await shop.call(tool, table="customers")
        assert outcome.error == "not_found"
        assert outcome.text == "There is no table customers in shop. Did you mean orders?"
    assert (await shop.call("describe_table", table="orders")).value["foreign_keys"] == []


async def test_hidden_columns_do_not_exist(shop: Shop) -> None:
    shop.grants = [grant("*", hidden=("salary", "customers.email"))]
    described = await shop.call("describe_table", table="customers")
    assert [column["name"] for column in described.value["columns"]] == ["id", "name", "country", "owner"]
    assert described.value["unique_keys"] == []
    assert (await shop.call("query_table", table="customers")).value["columns"] == ["id", "name", "country", "owner"]
    uses: list[dict[str, Any]] = [
        {"columns": ["salary"]},
        {"filter": "salary > 1"},
        {"filter": "name = 'x' or salary is null"},
        {"order_by": ["-salary"]},
    ]
    for use in uses:
        outcome = await shop.call("query_table", table="customers", **use)
        assert outcome.error == "not_found"
        assert outcome.text == "customers has no column salary. There are country, id, name, owner."
    writes: list[tuple[str, dict[str, Any]]] = [
        ("create_records", {"records": [{"name": "x", "salary": 1}]}),
        ("update_records", {"values": {"salary": 1}, "ids": [1]}),
        ("update_records", {"values": {"name": "x"}, "filter": "salary > 1"}),
        ("delete_records", {"filter": "salary > 1"}),
    ]
    for tool, arguments in writes:
        assert (await shop.call(tool, table="customers", **arguments)).error == "not_found"
    taken = await shop.call("update_records", table="customers", values={"id": 2}, ids=[3])
    assert taken.text.startswith("There is a record with that id already")


async def test_a_conflict_does_not_name_hidden_columns(shop: Shop) -> None:
    shop.grants = [grant("*", hidden=("name",))]
    outcome = await shop.call("create_records", table="customers", records=[{"country": "DE"}])
    assert outcome.text == "records[0]: A column needs a value; nothing was changed."


async def test_masked_columns_show_stars_and_nothing_else(shop: Shop) -> None:
    shop.grants = [grant("*", masked=("salary",))]
    rows = await shop.query(table="customers", columns=["id", "salary"])
    assert rows == [[1, "***"], [2, "***"], [3, "***"], [4, "***"]]
    assert await shop.query(table="customers", columns=["salary"]) == [["***"]] * 4
    described = (await shop.call("describe_table", table="customers")).value["columns"]
    assert [column["name"] for column in described if column["masked"]] == ["salary"]
    uses: list[tuple[str, dict[str, Any]]] = [
        ("query_table", {"filter": "salary is null"}),
        ("query_table", {"order_by": ["salary"]}),
        ("create_records", {"records": [{"name": "x", "salary": 1}]}),
        ("update_records", {"values": {"salary": 1}, "ids": [1]}),
        ("delete_records", {"filter": "salary > 1"}),
    ]
    for tool, arguments in uses:
        outcome = await shop.call(tool, table="customers", **arguments)
        assert (outcome.error, "salary is masked" in outcome.text) == ("not_allowed", True)


async def test_a_masked_key_stays_out_of_cursors_and_ids(shop: Shop) -> None:
    shop.grants = [grant("*", masked=("id",))]
    page = (await shop.call("query_table", table="customers", limit=1, order_by=["name"])).value
    assert page["rows"][0][:2] == ["***", "Ada"]
    following = await shop.query(table="customers", order_by=["name"], cursor=page["next_cursor"])
    assert [row[1] for row in following] == ["Bob", "Cem", "Dee"]
    created = await shop.call("create_records", table="customers", records=[{"name": "Eve"}])
    assert created.value == {"created": 1, "ids": None}
    assert (await shop.call("delete_records", table="customers", ids=[1])).error == "invalid_arguments"


@pytest.mark.parametrize(
    ("rows", "attributes", "ids"),
    [
        ("owner = {user.id}", {}, [1, 3]),
        ("owner = '{user.id}'", {}, [1, 3]),
        ("owner = {user.id} and salary is not null", {}, [1]),
        ("country = {user.country}", {"country": "FR"}, [2]),
        ("country = {user.country}", {}, []),
        ("not country = {user.country}", {}, []),
        ("country = {user.country} or true = true or id > 0", {"country": "x"}, None),
        ("country in ('FR', {user.country})", {"country": "DE"}, [1, 2, 4]),
        ("id = {user.number}", {"number": "4"}, [4]),
        ("id = {user.number}", {"number": "four"}, []),
        ("not id = {user.number}", {"number": "four"}, []),
        ("country = {user.country}", {"country": "x' or '1' = '1"}, []),
        ("country = {user.country}", {"country": "{user.id}"}, []),
        ("name like {user.start}", {"start": "A%"}, [1]),
    ],
)
async def test_row_filters_leave_the_users_own_rows(
    shop: Shop, rows: str, attributes: dict[str, str], ids: list[int] | None
) -> None:
    shop.principal = Principal("u_1", "client", "default", attributes)
    shop.grants = [grant("read", rows=rows)]
    outcome = await shop.call("query_table", table="customers", columns=["id"])
    if ids is None:
        assert outcome.error == "not_allowed"
    else:
        assert outcome.rows == [[number] for number in ids]


async def test_a_callers_filter_cannot_open_what_a_row_filter_closes(shop: Shop) -> None:
    shop.grants = [grant("*", rows="owner = {user.id}", hidden=("owner",))]
    assert await shop.query(table="customers", columns=["id"], filter="id = 2 or id > 0") == [[1], [3]]
    assert (await shop.call("update_records", table="customers", values={"name": "x"}, ids=[1, 2])).value[
        "updated"
    ] == 1
    assert (await shop.call("delete_records", table="customers", filter="id = 2 or id = 3")).value == {"deleted": 1}
    assert shop.execute("select id, name from customers order by id") == [(1, "x"), (2, "Bob"), (4, "Dee")]
    assert await shop.query(table="customers", filter="name = {user.id}") == []


async def test_row_filters_of_several_grants_add_up(shop: Shop) -> None:
    shop.grants = [grant("read", rows="owner = {user.id}"), grant("read", rows="country = 'FR'")]
    assert await shop.query(table="customers", columns=["id"]) == [[1], [2], [3]]
    shop.grants.append(grant("read", rows="colour = 'red'"))
    assert await shop.query(table="customers", columns=["id"]) == [[1], [2], [3]]


async def test_a_row_filter_that_does_not_fit_opens_nothing(shop: Shop) -> None:
    for rows in ("colour = 'red'", "owner =", "1 = 1", "owner = 'u{user.id}'", "id in (select 1)"):
        shop.grants = [grant("read", rows=rows)]
        outcome = await shop.call("query_table", table="customers")
        assert outcome.error == "not_allowed"
        assert "The row filter of your role does not fit" in outcome.text


async def test_every_action_needs_its_own_grant(shop: Shop) -> None:
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "read": ("query_table", {}),
        "create": ("create_records", {"records": [{"name": "Eve"}]}),
        "update": ("update_records", {"values": {"country": "IT"}, "ids": [1]}),
        "delete": ("delete_records", {"ids": [3]}),
    }
    for action in calls:
        for other, (tool, arguments) in calls.items():
            shop.grants = [grant(action), grant(other, objects=("lines",))]
            outcome = await shop.call(tool, table="customers", **arguments)
            if other == action:
                assert not outcome.result.is_error, outcome.text
            else:
                assert outcome.error in ("not_allowed", "not_found")
                assert (outcome.error == "not_allowed") == (action == "read")


async def test_without_reading_records_are_named_by_ids_alone(shop: Shop) -> None:
    shop.grants = [grant("update", "delete")]
    by_filter = await shop.call("update_records", table="customers", values={"country": "IT"}, filter="salary > 100")
    assert by_filter.error == "not_allowed"
    assert by_filter.text == "You may not read customers, so name its records by ids."
    assert (await shop.call("update_records", table="customers", values={"country": "IT"}, ids=[1])).value[
        "updated"
    ] == 1


async def test_a_write_cannot_tell_what_may_not_be_read(shop: Shop) -> None:
    shop.grants = [grant("read", rows="owner = {user.id}", hidden=("salary",)), grant("update", "delete")]
    by_filter = await shop.call("update_records", table="customers", values={"country": "IT"}, filter="name = 'Bob'")
    assert by_filter.value == {"updated": 0}
    assert (await shop.call("delete_records", table="customers", filter="salary > 1")).error == "not_found"


async def test_a_row_cannot_be_written_out_of_reach(shop: Shop) -> None:
    shop.grants = [grant("*", rows="owner = {user.id}")]
    before = shop.execute("select * from customers order by id")
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("create_records", {"records": [{"name": "a", "owner": "u_1"}, {"name": "b", "owner": "u_2"}]}),
        ("create_records", {"records": [{"name": "a"}]}),
        ("update_records", {"values": {"owner": "u_2"}, "ids": [1]}),
        ("update_records", {"values": {"owner": None}, "filter": "id > 0"}),
    ]
    for tool, arguments in attempts:
        outcome = await shop.call(tool, table="customers", **arguments)
        assert outcome.error == "not_allowed"
        assert "outside of the rows that you may write; nothing was changed" in outcome.text
    assert shop.execute("select * from customers order by id") == before
    kept: list[tuple[str, dict[str, Any]]] = [
        ("create_records", {"records": [{"name": "a", "owner": "u_1"}]}),
        ("update_records", {"values": {"country": "IT"}, "filter": "id > 0"}),
        ("update_records", {"values": {"id": 77}, "ids": [3]}),
    ]
    for tool, arguments in kept:
        assert not (await shop.call(tool, table="customers", **arguments)).result.is_error


async def test_rows_without_a_key_are_not_written_under_a_row_filter(shop: Shop) -> None:
    shop.grants = [grant("*", rows="number = 2")]
    writes: list[tuple[str, dict[str, Any]]] = [
        ("create_records", {"records": [{"text": "x", "number": 2}]}),
        ("update_records", {"values": {"text": "x"}, "filter": "number > 0"}),
    ]
    for tool, arguments in writes:
        assert (await shop.call(tool, table="lines", **arguments)).error == "not_allowed"
    assert (await shop.call("delete_records", table="lines", filter="number > 0")).value == {"deleted": 2}


def with_schemas(shop: Shop, *names: str) -> Shop:
    """The same database, served with these schemas."""
    return Shop(shop.engine, shop.url, schemas=names)


def schema_names(shop: Shop) -> tuple[str, str]:
    """The default schema, and another one with a table of its own and one of a name that both have."""
    ((default,),) = shop.execute("select current_schema()" if shop.engine == "postgresql" else "select database()")
    other = "crm" if shop.engine == "postgresql" else default.replace("shop", "crm")
    shop.execute(f"create schema {other};\n create table {other}.contacts (id integer primary key, customer integer);\n"
                 f"alter table {other}.contacts add foreign key (customer) references {default}.customers (id);\n"
                 f"insert into {other}.contacts values (1, 1);\n"
                 f"create table {other}.orders (id integer primary key, what varchar(9));\n"
                 f"insert into {other}.orders values (7, 'a')")  # fmt: skip
    return default, other


async def test_other_schemas_are_not_there_unless_they_are_configured(server_shop: Shop) -> None:
    shop = server_shop
    _, other = schema_names(shop)
    assert (await shop.call("query_table", table=f"{other}.contacts")).error == "not_found"
    assert all("." not in table["name"] for table in (await shop.call("list_tables")).value["tables"])
    described = (await shop.call("describe_table", table="customers")).value
    assert {key["table"] for key in described["referenced_by"]} == {"orders"}


async def test_a_schema_that_is_not_there_is_told_in_the_answer(server_shop: Shop) -> None:
    shop = with_schemas(server_shop, "nowhere")
    calls: list[tuple[str, dict[str, Any]]] = [("list_tables", {}), ("query_table", {"table": "orders"})]
    for tool, arguments in calls:
        outcome = await shop.call(tool, **arguments)
        assert outcome.error == "source_unavailable"
        assert outcome.text == "The configuration names the schema nowhere, which is not in the database."
    shop.close()


async def test_tables_of_other_schemas_are_named_with_their_schema(server_shop: Shop) -> None:
    default, other = schema_names(server_shop)
    shop = with_schemas(server_shop, default, other)
    assert await shop.query(table=f"{other}.contacts") == [[1, 1]]
    assert await shop.query(table=f"{other}.orders") == [[7, "a"]]
    assert len(await shop.query(table="orders")) == len(await shop.query(table=f"{default}.orders")) == 4
    created = await shop.call("create_records", table=f"{other}.orders", records=[{"id": 8, "what": "b"}])
    assert created.value["ids"] == [8]
    assert server_shop.execute("select count(*) from orders") == [(4,)]
    described = (await shop.call("describe_table", table="customers")).value
    assert {key["table"] for key in described["referenced_by"]} == {"orders", f"{other}.contacts"}
    shop.grants = [grant("read", objects=(f"{other}.*",))]
    assert [t["name"] for t in (await shop.call("list_tables")).value["tables"]] == [
        f"{other}.contacts", f"{other}.orders",
    ]  # fmt: skip
    assert (await shop.call("query_table", table="orders")).error == "not_found"
    shop.grants = [grant("read", objects=("contacts",))]
    assert (await shop.call("list_tables")).value["tables"] == []
    shop.close()
