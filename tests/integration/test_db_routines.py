"""list_routines and call_routine, on PostgreSQL and MariaDB."""

import os
import re
from collections.abc import Generator
from typing import Any

import msgspec
import psycopg
import pytest
from sqlalchemy.engine import make_url

from databases import DIALECTS, SHOP, Outcome, Shop, url_of
from isthmus.answering import answer
from isthmus.auditing import Written
from isthmus.errors import ConfigurationError
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.messages import ClientCan, Envelope
from isthmus.results import CallToolResult, InputRequiredResult, Reply
from isthmus_db_worker.settings import DatabaseSettings, SavedQuery
from isthmus_db_worker.worker import create_worker, source_of
from mariadb import MariadbServer
from wires import Heard

pytest_plugins = ["database_fixtures"]

POSTGRESQL = """
create type mood as enum ('calm', 'busy');
create domain share as numeric check (value between 0 and 1);
create function tax(amount numeric, rate share default 0.19) returns numeric language sql stable as
  'select round(amount * rate, 2)';
comment on function tax is 'Tax on an amount';
create function tax(item text) returns text language sql immutable as 'select ''tax on '' || item';
create function swap(inout a integer, inout b integer, out total bigint) language sql immutable as
  'select b, a, (a + b)::bigint';
create function orders_of(customer integer, minimum numeric default 0)
  returns table (id integer, total numeric, about jsonb) language sql stable as
  'select o.id, o.total, jsonb_build_object(''exact'', 0.12345678901234567890123) from orders o
   where customer_id = customer and coalesce(total, 0) >= minimum order by id';
create function customer(integer) returns customers language sql stable as 'select * from customers where id = $1';
create function every(m mood, days date[], variadic notes text[]) returns text language sql stable as
  'select m::text || array_length(days, 1) || array_to_string(notes, ''+'')';
create function documents(d jsonb, price money, span interval, raw bytea) returns table (d jsonb, price money,
  span interval, raw bytea) language sql stable as 'select $1, $2, $3, $4';
create function half(a integer) returns integer language sql as 'select 1 / a';
create function nothing() returns void language sql stable as 'select 1';
create function changing() returns void language sql stable as 'select 1';
create function cursors() returns setof refcursor language plpgsql volatile as
  $$ declare a refcursor := 'first "one"'; b refcursor; begin
  open a for select id, name from customers order by id; return next a;
  open b for select '{"n": 1.50}'::json as d; return next b; end $$;
create procedure add_order(out id integer, customer integer, amount numeric default 5, inout note text default null)
  language plpgsql as $$ begin
  if amount > 1000 then raise exception 'An order of % is too large, ask "Ada".', amount; end if;
  insert into orders (customer_id, total, note) values (customer, amount, note) returning orders.id into id;
  note := coalesce(note, 'none') || '!'; end $$;
create procedure commits() language plpgsql as $$ begin insert into prices values ('x', 'y', 1); commit; end $$;
create procedure settings() language plpgsql as
  $$ begin perform set_config('search_path', 'nowhere', false); create temp table mine (id integer); end $$;
create function wipe() returns void language sql volatile as 'delete from "lines"';
create function sly() returns integer language plpgsql stable as $$ begin delete from "lines"; return 1; end $$;
create function slyer() returns integer language plpgsql stable as
  $$ begin perform set_config('default_transaction_read_only', 'off', false); perform wipe(); return 1; end $$;
create function opens() returns text language sql stable as
  'select set_config(''default_transaction_read_only'', ''off'', false)';
create function on_change() returns trigger language plpgsql as 'begin return new; end';
create function anything(anyelement) returns text language sql stable as 'select ''a''';
create function untold() returns setof record language sql stable as 'select 1';
create aggregate most (integer) (sfunc = int4larger, stype = integer);
create function "odd %s ""name""(" ("a %s" integer, "select" integer default 2) returns integer language sql stable as
  'select $1 + $2';
create function to_tsvector(amount integer) returns integer language sql stable as 'select amount + 1';
create schema crm;
create function crm.visits(out total integer) language sql stable as 'select 7'
"""

MARIADB = """
create function tax(amount decimal(10,2), rate decimal(4,2)) returns decimal(10,2) reads sql data
  comment 'Tax on an amount' return round(amount * rate, 2);
create function writes_too(i int) returns int reads sql data
  begin set session transaction read write; delete from "lines"; return 1; end;
create procedure add_order(customer integer, amount decimal(10,2), inout note text, out id integer)
  begin if amount > 1000 then signal sqlstate '45000' set message_text = 'An order of that size is too large.'; end if;
  insert into orders (customer_id, total, note) values (customer, amount, note); set id = last_insert_id();
  set note = concat(coalesce(note, 'none'), '!'); end;
create procedure everything(inout day date, inout moment datetime, inout b bit(4), inout yes tinyint(1), inout raw blob,
  inout word enum('a','b'), inout t time, inout f float, inout number bigint, inout shape point) reads sql data
  begin end;
create procedure sets(first int) reads sql data
  begin select id, name, placed from (select id, name, timestamp '2024-01-02 03:04:05' as placed from customers) c
  where id >= first order by id; select b, 1 as n, 2 as n from bits; end;
create procedure sly() reads sql data begin delete from "lines"; end;
create procedure slyer() reads sql data begin commit; set session transaction read write; delete from "lines"; end;
create procedure slyest() reads sql data begin start transaction read write; delete from "lines"; end;
create procedure makes() reads sql data begin create table made (id int); end;
create procedure into_isam() reads sql data begin insert into isam values (1); end;
create table isam (id int) engine = myisam;
create table bits (b bit(4)) select 5 as b;
create procedure settings() begin set session sql_mode = 'ANSI_QUOTES'; set @isthmus_0 = 5;
  create temporary table mine (id int); end;
create procedure "odd %s ""name"" `(" (in "a %s" integer) reads sql data select "a %s" + 1 as n;
create aggregate function most(x int) returns int
  begin declare m int default 0; declare continue handler for not found return m; loop fetch group next row;
  set m = greatest(m, x); end loop; end
"""
WRITING = {"postgresql": POSTGRESQL, "mariadb": MARIADB}


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest) -> Generator[Shop]:
    """The shop with routines in it."""
    engine, name = request.param, f"routines_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    if engine == "postgresql":
        server = request.getfixturevalue("postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"create database {name}".encode())
    else:
        mariadb: MariadbServer = request.getfixturevalue("mariadb")
        server = mariadb.url
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
    shop = Shop(engine, url_of(server, name))
    shop.execute(SHOP.format(**DIALECTS[engine]))
    with shop.admin.begin() as connection:
        for statement in re.split(r";\n(?=create|comment)", WRITING[engine]):
            connection.execution_options(no_parameters=True).exec_driver_sql(statement)
    yield shop
    shop.close()


@pytest.fixture
def routines(served: Shop) -> Shop:
    """That, for somebody who may do everything. Tests may add rows."""
    served.access, served.limit, served.schemas, served.grants = "read-write", 4, (), [EVERYTHING]
    return served.configured()


on_postgresql = pytest.mark.parametrize("served", ["postgresql"], indirect=True)
on_mariadb = pytest.mark.parametrize("served", ["mariadb"], indirect=True)


def read_only(shop: Shop) -> Shop:
    shop.access = "read-only"
    return shop.configured()


async def called(shop: Shop, routine: str, *given: Any, **named: Any) -> Any:
    """What comes back: rows of the only set, else the output."""
    value = (await shop.call("call_routine", routine=routine, arguments=list(given) or named)).value
    return value["result_sets"][0]["rows"] if value["result_sets"] else value["output"]


async def refused(shop: Shop, routine: str, *given: Any, **named: Any) -> str:
    outcome = await shop.call("call_routine", routine=routine, arguments=list(given) or named)
    assert outcome.error, outcome.text
    return outcome.text


async def test_sqlite_has_no_such_tools(sqlite_shop: Shop) -> None:
    for tool in ("list_routines", "call_routine"):
        assert (await sqlite_shop.call(tool)).error == "unknown_tool"


def test_one_worker_serves_databases_that_write_and_that_only_read() -> None:
    url = "postgresql://nobody@localhost/some"
    settings = {"one": DatabaseSettings(url=url), "two": DatabaseSettings(url=url, access="read-write")}
    toolbox = create_worker(settings)._toolbox  # pyright: ignore[reportPrivateUsage]
    hints: list[bool] = []
    for source in toolbox.sources.values():
        tool = toolbox.tool_of(source, "call_routine")
        assert tool is not None
        hints.append(tool.definition.annotations.read_only_hint)
        source.close()
    assert hints == [True, False]


def test_a_saved_query_cannot_have_the_name_of_one_of_the_tools() -> None:
    query = SavedQuery("select 1", "One.")
    settings = DatabaseSettings(url="postgresql://nobody@localhost/some", saved_queries={"call_routine": query})
    with pytest.raises(ConfigurationError, match="The saved query call_routine of the database one has another tool's"):
        source_of("one", settings)


async def test_routines_are_listed_with_their_arguments(routines: Shop) -> None:
    listed = await routines.call("list_routines", query="TAX on")
    (tax,) = listed.value["routines"]
    assert tax["name"] == "tax"
    assert tax["comment"] == "Tax on an amount"
    assert tax["read_only"] is True
    assert [a["name"] for a in tax["arguments"]] == ["amount", "rate"]
    lines = {
        "postgresql": "function tax(amount numeric, rate share default 0.19) → numeric, reads only: Tax on an amount",
        "mariadb": "function tax(amount decimal(10,2), rate decimal(4,2)) → decimal(10,2), reads only: "
        "Tax on an amount",
    }
    assert listed.text == f"{lines[routines.engine]}\n(1 found, that is all)"
    added = (await routines.call("list_routines", query="add_order")).text
    parameters = {
        "postgresql": "out id integer, customer integer, amount numeric default 5, inout note text default NULL::text",
        "mariadb": "customer int(11), amount decimal(10,2), inout note text, out id int(11)",
    }
    assert added == f"procedure add_order({parameters[routines.engine]})\n(1 found, that is all)"


async def test_what_cannot_be_called_is_not_listed(routines: Shop) -> None:
    names = {r["name"] for r in (await routines.call("list_routines")).value["routines"]}
    assert not names & {"on_change", "anything", "untold", "most", "visits", "crm.visits", "now", "version"}
    assert {"tax", "add_order"} <= names


async def test_scalar_functions_return_one_value(routines: Shop) -> None:
    assert await called(routines, "tax", amount="10.00", rate="0.07") == {"result": "0.70"}
    assert await called(routines, "tax", 10, 0.5) == {"result": "5.00"}
    assert await called(routines, "TAX", Amount=None, RATE=0) == {"result": None}


async def test_procedures_take_and_return_arguments_and_are_committed(routines: Shop) -> None:
    text = (await routines.call("call_routine", routine="add_order", arguments={"customer": 2, "amount": "7.50",
                                                                               "note": "x"})).text  # fmt: skip
    ((new,),) = routines.execute("select max(id) from orders")
    assert sorted(text.splitlines()) == [f"id = {new}", "note = x!"]
    assert routines.execute("select note from orders where id = :id", id=new) == [("x",)]


async def test_what_an_author_raises_is_told_and_undone(routines: Shop) -> None:
    before = routines.execute("select count(*) from orders")
    words = {
        "postgresql": 'add_order was not done: An order of 5000 is too large, ask "Ada".',
        "mariadb": "add_order failed: An order of that size is too large. What it did is undone, but for what it "
        "committed by itself: look before you call it again.",
    }
    assert await refused(routines, "add_order", 1, 5000, None) == words[routines.engine]
    broken = await refused(routines, "add_order", 999, 1, None)
    assert "record that is not there" in broken
    assert routines.execute("select count(*) from orders") == before


async def test_wrong_arguments_are_named(routines: Shop) -> None:
    assert (await refused(routines, "taxes")).startswith("There is no routine taxes in shop. Did you mean tax")
    wrong = await refused(routines, "add_order", customer=1, amuont=2, note="")
    assert wrong == "add_order has no argument amuont. Did you mean amount?"
    assert (await refused(routines, "add_order", note="")).startswith("customer is missing: add_order(")
    assert await refused(routines, "add_order", "one", 1, "") == "customer takes a whole number such as 42."
    assert (await refused(routines, "add_order", 1, 2, "", 4)).startswith("4 are too many: 3 arguments at most in add_")
    given = await refused(routines, "add_order", customer=1, amount=1, note="", id=5)
    assert given == "id comes back from add_order: leave it out."


async def asked(shop: Shop, given: list[Any], heard: Heard, agreed: str = "", state: str = "") -> Reply:
    """What add_order replies to a client that can ask its user, who has answered so, if at all."""
    arguments = msgspec.json.encode({"routine": "add_order", "arguments": given})
    answers = {"approval": msgspec.Raw(msgspec.json.encode({"action": agreed, "content": {}}))} if agreed else {}
    envelope = Envelope(
        "c1", shop.principal, {"db.shop": Granted.of(shop.grants)}, msgspec.Raw(arguments),
        client=ClientCan(elicitation=True), answers=answers, state=state,
    )  # fmt: skip
    return await answer(shop.toolbox, shop.source, "call_routine", envelope, 20, heard)


def text_of(reply: Reply) -> str:
    assert isinstance(reply, CallToolResult)
    return Outcome(reply).text


async def test_calls_that_may_write_are_put_on_record(routines: Shop) -> None:
    heard = Heard()
    assert "id = " in text_of(await asked(routines, [1, 2, "x"], heard))
    assert heard.written == [Written(object="add_order", action="call")]
    assert "is too large" in text_of(await asked(routines, [1, 5000, "x"], heard))
    unknown = [Written(object="add_order", action="call", count=0)]  # it might have committed before it failed
    assert heard.written[1:] == (unknown if routines.engine == "mariadb" else [])


async def test_where_changes_want_a_preview_or_consent_routines_want_consent(routines: Shop) -> None:
    heard, given = Heard(), [1, 3, "agreed"]
    count = "select count(*) from orders where note = 'agreed!' or note = 'agreed'"
    routines.configured(writes="preview")
    assert "changes only after a preview, which routines" in text_of(await asked(routines, given, heard))
    assert await called(routines, "tax", 10, 0.5) == {"result": "5.00"}
    routines.configured(writes="confirm")
    assert (await routines.call("call_routine", routine="add_order", arguments=given)).error == "client_cannot"
    question = await asked(routines, given, heard)
    assert isinstance(question, InputRequiredResult)
    assert 'with [1,3,\\"agreed\\"]' in bytes(question.input_requests["approval"].params).decode()
    state = question.request_state
    assert "did not agree" in text_of(await asked(routines, given, heard, "decline", state))
    assert "about another call" in text_of(await asked(routines, [1, 4, "agreed"], heard, "accept", state))
    assert (routines.execute(count), heard.written) == ([(0,)], [])
    assert "id = " in text_of(await asked(routines, given, heard, "accept", state))
    assert (routines.execute(count), len(heard.written)) == ([(1,)], 1)


async def test_values_are_bound_and_odd_names_are_quoted(routines: Shop) -> None:
    odd = next(r["name"] for r in (await routines.call("list_routines", query="odd")).value["routines"])
    expected = {"result": 3} if routines.engine == "postgresql" else [[2]]
    assert await called(routines, odd, **{"a %s": 1}) == expected
    hostile = "'; drop table orders; -- %s :x \\"
    assert (await called(routines, "add_order", 1, 1, hostile))["note"] == f"{hostile}!"


async def test_only_granted_routines_are_there(routines: Shop) -> None:
    async def names(*grants: Grant) -> set[str]:
        routines.grants = list(grants)
        outcome = await routines.call("list_routines")
        return set() if outcome.result.is_error else {r["name"] for r in outcome.value["routines"]}

    everywhere = ("db.*",)
    assert await names(Grant(everywhere, ("call",), ("ta?",))) == {"tax"}
    assert await refused(routines, "add_order", 1, 1, "") == "There is no routine add_order in shop. There is only tax."
    assert await names(Grant(everywhere, ("read",))) == set()
    assert "add_order" in await names(EVERYTHING)
    assert await names(Grant(everywhere, ("*",), rows="id = 1")) == set()
    assert await names(Grant(everywhere, ("*",), hidden=("salary",))) == set()
    assert await names(Grant(everywhere, ("call",), masked=("salary",))) == set()
    closing = Grant(everywhere, ("read",), hidden=("salary",))
    assert await names(EVERYTHING, closing) == set()
    assert await names(closing, Grant(everywhere, ("call",), ("tax",))) == {"tax"}


async def test_read_only_sources_call_what_is_known_to_read(routines: Shop) -> None:
    read_only(routines)
    assert await called(routines, "tax", 10, 0.5) == {"result": "5.00"}
    listed = await routines.call("list_routines")
    assert all(r["read_only"] for r in listed.value["routines"])
    assert "that may write cannot be called in shop, which is read-only)" in listed.text
    told = await refused(routines, "add_order", 1, 1, "")
    assert told == "add_order may write, and shop is read-only: it calls only what is known to read."


async def test_the_server_holds_routines_to_reading(routines: Shop) -> None:
    before = routines.execute('select count(*) from "lines"')
    read_only(routines)
    sly = {"postgresql": ["sly", "slyer"], "mariadb": ["sly", "slyer", "slyest", "makes", "into_isam"]}[routines.engine]
    for name in sly:
        outcome = await routines.call("call_routine", routine=name)
        assert outcome.error == "not_allowed", (name, outcome.text)
        assert await refused(routines, name), name
    if routines.engine == "mariadb":
        assert "tried to write" in await refused(routines, "writes_too", 1)
        assert routines.execute("select count(*) from isam") == [(0,)]
    assert routines.execute('select count(*) from "lines"') == before


async def test_a_routine_leaves_nothing_on_the_connection(routines: Shop) -> None:
    routines.limit = 1
    routines.configured()
    for _ in range(2):
        assert (await routines.call("call_routine", routine="settings")).text == "Done; nothing was returned."
    await routines.call("create_records", table="prices", records=[{"item": "cup", "country": "DE", "price": 1}])
    assert routines.execute("select count(*) from prices where item = 'cup'") == [(1,)]


async def test_a_routine_that_takes_too_long_is_stopped(routines: Shop) -> None:
    sleeping = {
        "postgresql": "create procedure sleeps() language sql as 'select pg_sleep(60)'",
        "mariadb": "create procedure sleeps() begin do sleep(60); end",
    }
    routines.execute(sleeping[routines.engine])
    assert (await routines.call("call_routine", routine="sleeps", seconds=0.2)).error == "deadline_exceeded"


@on_postgresql
async def test_functions_with_out_arguments_and_rows_return_them(routines: Shop) -> None:
    assert await called(routines, "swap", 1, 2) == {"a": 2, "b": 1, "total": 3}
    row = await called(routines, "customer", 1)
    assert row["name"] == "Ada"
    assert row["salary"] == "100.50"
    assert await called(routines, "nothing") == {}
    assert await called(routines, "to_tsvector", 1) == {"result": 2}
    rows = await routines.call("call_routine", routine="orders_of", arguments={"customer": 1}, limit=1)
    (found,) = rows.value["result_sets"]
    assert found["columns"] == ["id", "total", "about"]
    assert found["rows"] == [[1, "10.00", {"exact": 0.12345678901234567890123}]]
    assert found["truncated"]
    assert "0.12345678901234567890123" in rows.text
    assert rows.text.endswith("(1 row, more follow: raise limit, or ask for less by the arguments)")
    (least,) = await called(routines, "orders_of", customer=1, minimum=20)
    assert least[0] == 2


@on_postgresql
async def test_defaults_variadic_arguments_and_types_of_all_kinds(routines: Shop) -> None:
    assert await called(routines, "tax", 100) == {"result": "19.00"}
    assert await called(routines, "every", "busy", ["2024-01-01", None], ["a", "b"]) == {"result": "busy2a+b"}
    assert await called(routines, "every", m="calm", days=["2024-01-01"]) == {"result": "calm1"}
    assert await refused(routines, "every", "sad", [], []) == "m takes one of calm, busy."
    given = [{"a": [1, None]}, "12.50", "P1DT2H", "AAH/"]
    assert await called(routines, "documents", *given) == [given]
    assert await called(routines, "documents", None, None, None, None) == [[None] * 4]
    note = await called(routines, "add_order", customer=1, note=None)
    assert note["note"] == "none!"
    assert (await refused(routines, "tax", 1, 2)).startswith("A rule of the database does not allow")
    assert (await refused(routines, "tax", 1, 2, 3)).startswith("No tax takes")
    assert await refused(routines, "half", 0) == ("half cannot work with a value that it was given, or that it met.")


@on_postgresql
async def test_overloaded_functions_are_told_apart_by_their_arguments(routines: Shop) -> None:
    assert await called(routines, "tax", item="tea") == {"result": "tax on tea"}
    assert await called(routines, "tax", "tea") == {"result": "tax on tea"}
    assert await called(routines, "tax", amount="1") == {"result": "0.19"}
    both = await refused(routines, "tax", "12")
    assert both == (
        "2 routines take these arguments; name them so that one does: tax(item text) → text; "
        "tax(amount numeric, rate share default 0.19) → numeric."
    )
    none = await refused(routines, "tax", 1, 2, 3)
    assert none.startswith("No tax takes these arguments; there are tax(item text) → text; tax(amount")


@on_postgresql
async def test_cursors_that_a_function_returns_are_read(routines: Shop) -> None:
    sets = (await routines.call("call_routine", routine="cursors")).value["result_sets"]
    assert [each["columns"] for each in sets] == [["id", "name"], ["d"]]
    assert len(sets[0]["rows"]) == 4
    assert sets[1]["rows"] == [[{"n": 1.5}]]


@on_postgresql
async def test_a_procedure_that_commits_is_refused_where_all_is_one_transaction(routines: Shop) -> None:
    told = await refused(routines, "commits")
    assert told == "commits ends transactions (COMMIT, ROLLBACK), so it cannot be called here."
    assert routines.execute("select count(*) from prices where item = 'x'") == [(0,)]


@on_postgresql
async def test_routines_of_configured_schemas_have_its_name(routines: Shop) -> None:
    routines.schemas = ("crm", "public")
    routines.configured()
    assert await called(routines, "crm.visits") == {"total": 7}
    assert await called(routines, "public.tax", amount=1) == {"result": "0.19"}


@on_postgresql
async def test_a_routine_that_changed_is_looked_at_again(routines: Shop) -> None:
    assert await called(routines, "changing") == {}
    changed = "drop function changing;\ncreate function changing(a integer) returns integer language sql as 'select a'"
    routines.execute(changed)
    assert await called(routines, "changing", a=3) == {"result": 3}


@on_postgresql
async def test_extensions_and_what_the_account_may_not_call_are_not_listed(routines: Shop) -> None:
    shop, role = routines, f"caller_{os.getpid()}"
    shop.execute(f"create extension citext;\ncreate role {role} login;\nrevoke execute on function swap from public")
    other = Shop("postgresql", make_url(shop.url).set(username=role).render_as_string(hide_password=False))
    try:
        names = {r["name"] for r in (await other.call("list_routines")).value["routines"]}
    finally:
        other.close()
        shop.execute(f"drop role {role}")
    assert "tax" in names
    assert not names & {"swap", "citext_cmp", "regexp_match"}


@on_postgresql
async def test_a_read_only_connection_stays_so_after_a_routine(routines: Shop) -> None:
    shop = routines
    shop.limit = 1
    read_only(shop)
    assert await called(shop, "opens") == {"result": "off"}
    left = await shop.source.handle.runner.look(
        lambda connection: connection.exec_driver_sql("show default_transaction_read_only").scalar(), 5
    )
    assert left == "on"


@on_mariadb
async def test_procedures_with_several_result_sets(routines: Shop) -> None:
    outcome = await routines.call("call_routine", routine="sets", arguments=[2], limit=2)
    first, second = outcome.value["result_sets"]
    assert first["columns"] == ["id", "name", "placed"]
    assert first["rows"] == [[2, "Bob", "2024-01-02T03:04:05"], [3, "Cem", "2024-01-02T03:04:05"]]
    assert first["truncated"]
    assert second["columns"] == ["b", "n", "n_2"]
    assert second["rows"] == [[5, 1, 2]]


@on_mariadb
async def test_a_set_that_is_cut_hides_no_other(routines: Shop) -> None:
    routines.execute(
        "create procedure many(out n integer) begin select seq from seq_1_to_300; select seq from seq_1_to_300; "
        "select 'last'; set n = 3; end"
    )
    outcome = await routines.call("call_routine", routine="many", limit=100)
    assert [len(rows["rows"]) for rows in outcome.value["result_sets"]] == [100, 100, 1]
    assert outcome.value["output"] == {"n": 3}


@on_mariadb
async def test_what_a_procedure_committed_before_it_failed_is_not_said_to_be_undone(routines: Shop) -> None:
    routines.execute(
        "create procedure halves() begin insert into prices values ('half', 'XX', 1); commit; "
        "signal sqlstate '45000' set message_text = 'no'; end"
    )
    told = await refused(routines, "halves")
    assert told.startswith("halves failed: no. What it did is undone, but for what it committed by itself")
    assert routines.heard.written == [Written(object="halves", action="call", count=0)]
    assert routines.execute("select count(*) from prices where item = 'half'") == [(1,)]


@on_postgresql
async def test_a_name_with_a_dot_is_no_way_around_a_grant(routines: Shop) -> None:
    routines.execute("create function public.\"crm.secret\"() returns integer language sql stable as 'select 1'")
    routines.schemas, routines.grants = (
        ("public", "crm"),
        [Grant(sources=("db.*",), actions=("call",), objects=("crm.*",))],
    )
    routines.configured()
    assert "There is no routine crm.secret" in await refused(routines, "crm.secret")
    assert await called(routines, "crm.visits") == {"total": 7}


@on_mariadb
async def test_arguments_of_all_kinds_go_in_and_out(routines: Shop) -> None:
    given = {
        "day": "2024-01-31", "moment": "2024-01-31T12:00:00", "b": 5, "yes": True, "raw": "AAH/", "word": "b",
        "t": "-100:00:00", "f": 0.1, "number": "9007199254740993", "shape": "POINT(1 2)",
    }  # fmt: skip
    assert await called(routines, "everything", **given) == given
    nothing = dict.fromkeys(given)
    assert await called(routines, "everything", **nothing) == nothing


async def test_an_answer_stays_within_its_budget(routines: Shop) -> None:
    much = {
        "postgresql": "create procedure much(out a text) language sql as 'select repeat(''x'', 3000000)'",
        "mariadb": "create procedure much(out a longtext) begin set a = repeat('x', 3000000); "
        "select repeat('y', 200000) from customers; end",
    }
    routines.execute(much[routines.engine])
    outcome = await routines.call("call_routine", routine="much")
    assert outcome.value["shortened"] == {"a": 3_000_000}
    assert len(outcome.text) < 262_144
    assert outcome.text.startswith("a = xxxxx")
