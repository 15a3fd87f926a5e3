"""Parquet, by row groups and columns: only what is wanted is fetched."""

import io
from collections.abc import Iterator
from typing import cast

import pyarrow as pa
from pyarrow import parquet

from isthmus_file_worker.readers.messages import Column, Facts, Job, JsonValue, Rows
from isthmus_file_worker.readers.rows import WIDEST, answer, collect, unique_names
from isthmus_file_worker.readers.selecting import places_of, start_beyond
from isthmus_file_worker.readers.values import json_value

BATCH = 256
"""Rows that are decoded together."""
METADATA = 16 * 1024 * 1024
"""Bytes of a text, and entries of a list, in the footer."""


def read(file: io.BufferedReader, job: Job) -> Rows:
    """The rows that are wanted."""
    table = _opened(file)
    total = table.metadata.num_rows
    if job.start > max(total, 1):
        raise start_beyond(job, total)
    found = table.schema_arrow.names
    names, _ = unique_names(found)
    places, notes = places_of(job, names)
    chosen = [names[place] for place in places]
    kept = collect(_rows(table, places, job.start - 1), chosen, job.budget, job.limit)
    return answer(chosen, kept, notes, total=total)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """Its columns with their types, and its rows."""
    del job
    table = _opened(file)
    schema = table.schema_arrow
    columns = [
        Column(name, str(schema.types[place])[:200])
        for place, name in enumerate(unique_names(schema.names)[0][:WIDEST])
    ]
    more = len(table.schema_arrow.names) - len(columns)
    notes = [f"It has {more} more columns."] if more else []
    return Facts(columns=columns, rows=table.metadata.num_rows, notes=notes)


def _opened(file: io.BufferedReader) -> parquet.ParquetFile:
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    return parquet.ParquetFile(
        file, pre_buffer=False, thrift_string_size_limit=METADATA, thrift_container_size_limit=METADATA // 16
    )


def _rows(table: parquet.ParquetFile, places: list[int], skip: int) -> Iterator[list[JsonValue]]:
    """From one row on. Row groups before it are not touched."""
    group = 0
    while group < table.num_row_groups and skip >= table.metadata.row_group(group).num_rows:
        skip -= table.metadata.row_group(group).num_rows
        group += 1
    names = table.schema_arrow.names
    wanted = [names[place] for place in places]
    alone = len({*names}) == len(names)
    for number in range(group, table.num_row_groups):
        batches = table.iter_batches(BATCH, row_groups=[number], columns=wanted if alone else None, use_threads=False)
        for batch in batches:
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            part, skip = batch.slice(skip), 0
            found = [part.schema.get_field_index(names[place]) if alone else place for place in places]
            yield from map(list, zip(*(_values(part, place) for place in found), strict=True))


def _values(part: pa.RecordBatch, place: int) -> list[JsonValue]:
    """As JSON has them. What Python has no type for, such as nanoseconds, comes as text."""
    column = part.column(place)  # pyright: ignore[reportUnknownVariableType]  (what is in it is not known before)
    try:
        return [json_value(value) for value in cast("list[object]", column.to_pylist())]
    except (ValueError, OverflowError, ImportError):
        return [json_value(value) for value in cast("list[object]", column.cast(pa.string()).to_pylist())]
