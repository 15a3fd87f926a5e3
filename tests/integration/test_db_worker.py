"""The db worker as a process on the bus."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from databases import Shop
from isthmus import bus, subjects
from isthmus.grants import EVERYTHING, Granted
from isthmus.messages import TIMEOUT_HEADER, VERSION_HEADER, Envelope, Principal
from servers import NatsServer

pytest_plugins = ["database_fixtures"]


async def test_a_worker_process_joins_serves_and_leaves(nats: NatsServer, sqlite_shop: Shop, tmp_path: Path) -> None:
    databases = {
        "shop": {"url": sqlite_shop.url, "description": "A shop", "access": "read-write"},
        "away": {"url": "postgresql://u:hunter2@127.0.0.1:1/none"},
    }
    environment = {**os.environ, **nats.environment("db_worker"), "ISTHMUS_DATABASES": json.dumps(databases)}
    log = tmp_path / "log"
    client = await bus.connect(nats.settings("gateway"), "gateway")
    joined = await client.subscribe(subjects.CATALOG_CHANGED)
    replies = await client.subscribe("_INBOX_gateway.db.test")
    infos = await client.subscribe("_INBOX_gateway.srv.test")
    await client.flush()

    async def call(source: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        grants = {f"db.{source}": Granted.of([EVERYTHING])}
        body = msgspec.json.encode(Envelope("c1", Principal("u", "c", "default"), grants, raw))
        headers = {VERSION_HEADER: "1", TIMEOUT_HEADER: "10000"}
        await client.publish(subjects.call("db", source, tool), body, reply="_INBOX_gateway.db.test", headers=headers)
        return json.loads((await replies.next_msg(10)).data)

    with log.open("wb") as errors:
        process = subprocess.Popen([sys.executable, "-m", "isthmus_db_worker"], env=environment, stderr=errors)
        await joined.next_msg(10)
        await client.publish("$SRV.INFO.db-worker", reply="_INBOX_gateway.srv.test")
        info = json.loads((await infos.next_msg(5)).data)
        advertised = {endpoint["name"]: endpoint["metadata"] for endpoint in info["endpoints"]}
        assert advertised["shop"]["engine"] == "sqlite"
        assert advertised["shop"]["access"] == "read-write"
        assert advertised["away"]["engine"] == "postgresql"
        assert "hunter2" not in str(info)
        assert "127.0.0.1" not in str(info["endpoints"])

        rows = await call("shop", "query_table", {"table": "orders", "columns": ["id"], "database": "shop"})
        assert rows["structuredContent"]["rows"] == [[1], [2], [3], [4]]
        away = await call("away", "query_table", {"table": "orders"})
        assert away["_meta"] == {"isthmus/error": "source_unavailable"}
        created = await call("shop", "create_records", {"table": "lines", "records": [{"text": "x"}]})
        assert created["structuredContent"] == {"created": 1, "ids": None}

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    await client.close()
    assert "hunter2" not in log.read_text()


async def test_definitions_tell_models_what_the_tools_take(sqlite_shop: Shop) -> None:
    definitions = {name: tool.definition for name, tool in sorted(sqlite_shop.toolbox.tools.items())}
    assert {name: (d.actions[0], d.scope) for name, d in definitions.items()} == {
        "get_data_model": ("read", "data:read"),
        "list_tables": ("read", "data:read"),
        "describe_table": ("read", "data:read"),
        "query_table": ("read", "data:read"),
        "aggregate_table": ("read", "data:read"),
        "create_records": ("create", "data:write"),
        "update_records": ("update", "data:write"),
        "upsert_records": ("create", "data:write"),
        "delete_records": ("delete", "data:write"),
    }
    hints = {name: d.annotations for name, d in definitions.items()}
    assert sorted(name for name, hint in hints.items() if hint.read_only_hint) == [
        "aggregate_table", "describe_table", "get_data_model", "list_tables", "query_table",
    ]  # fmt: skip
    assert sorted(name for name, hint in hints.items() if hint.destructive_hint) == [
        "delete_records", "update_records", "upsert_records",
    ]  # fmt: skip
    assert definitions["get_data_model"].output_schema is msgspec.UNSET
    for definition in definitions.values():
        assert definition.description
        for name, field in definition.input_schema["properties"].items():
            assert field.get("description"), (definition.name, name)
        assert definition.output_schema is msgspec.UNSET or definition.output_schema["type"] == "object"
    limit = definitions["query_table"].input_schema["properties"]["limit"]
    assert (limit["maximum"], limit["default"]) == (1000, 100)
