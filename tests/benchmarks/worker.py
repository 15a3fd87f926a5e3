"""What a read costs inside the db worker, against SQLAlchemy alone on the same SQLite file, in one thread, warm.

Both filter the demo's orders, take ten and give JSON; ours is the whole way from the call's bytes to the answer's. The
two take turns, so that a busy machine slows both.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from isthmus.answering import answer
from isthmus.demo import database
from isthmus.grants import EVERYTHING, Granted
from isthmus.messages import Envelope, Principal
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from wires import Heard

ROUNDS, READS = 15, 100
READ = {"table": "orders", "filter": "status = 'delivered' and shipping_cost > 5", "limit": 10}


def plain(file: Path) -> Callable[[], bytes]:
    """A read as somebody would write it with SQLAlchemy."""
    engine = sa.create_engine(f"sqlite:///{file}")
    orders = sa.Table("orders", sa.MetaData(), autoload_with=engine)

    names = [str(column.name) for column in orders.columns]

    def read() -> bytes:
        statement = (
            sa.select(orders)
            .where(orders.c.status == "delivered", orders.c.shipping_cost > Decimal(5))
            .order_by(orders.c.id)
            .limit(10)
        )
        with engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(statement)]
        return msgspec.json.encode({"columns": names, "rows": rows})

    return read


def measure(file: Path) -> float:
    """How many of our reads take the time of one plain one, the median of all rounds."""
    worker = create_worker({"demo": msgspec.convert({"url": f"sqlite:///{file}"}, DatabaseSettings)})
    toolbox = worker._toolbox  # pyright: ignore[reportPrivateUsage]
    source = toolbox.sources["demo"]
    envelope = msgspec.json.encode(
        Envelope(
            id="c",
            principal=Principal("u", "client", "default"),
            grants={"db.demo": Granted.of([EVERYTHING])},
            arguments=msgspec.Raw(msgspec.json.encode(READ)),
        )
    )
    decoder = msgspec.json.Decoder(Envelope)
    read = plain(file)

    async def ours() -> bytes:
        return msgspec.json.encode(await answer(toolbox, source, "query_table", decoder.decode(envelope), 20, Heard()))

    async def rounds() -> list[float]:
        ratios: list[float] = []
        answered = b""
        for number in range(ROUNDS + 1):
            began = time.perf_counter()
            for _ in range(READS):
                answered = await ours()
            between = time.perf_counter()
            for _ in range(READS):
                read()
            ended = time.perf_counter()
            assert b'"isError":true' not in answered
            if number:
                ratios.append((ended - between) / (between - began))
                print(
                    f"ours {(between - began) / READS * 1e6:5.0f} µs   plain {(ended - between) / READS * 1e6:5.0f} µs"
                )
        return sorted(ratios)

    try:
        return asyncio.run(rounds())[ROUNDS // 2]
    finally:
        source.close()


def main() -> None:
    """`make bench-worker`"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demo.db"
        database.create(file)
        print(f"plain SQLAlchemy takes {measure(file):.2f} times as long")


if __name__ == "__main__":
    main()
