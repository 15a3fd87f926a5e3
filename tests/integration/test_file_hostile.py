"""Files made to harm their readers: a clear sentence or a bounded answer, soon, and a worker that lives on."""

import asyncio
import ctypes
import gzip
import io
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import samples
from isthmus.errors import CATALOGUE, ToolError
from isthmus_file_worker import media
from isthmus_file_worker.extracting import AT_A_TIME, Reader, job_for
from isthmus_file_worker.readers.confinement import MEMORY
from isthmus_file_worker.store import Status
from isthmus_file_worker.threads import Stop
from stores import FolderPlace, Store, until

pytest_plugins = ["store_fixtures"]

CORNER = (
    b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    b"</sheetData></worksheet>"
)
"""A sheet of a workbook with one value in its first cell and one in its last."""
GROWTH = 48 * 1024 * 1024
"""Bytes that a call may leave in the worker's memory, most of them for good reasons of the allocator."""


@pytest.fixture
def store(folder: FolderPlace) -> Store:
    store = Store.at(folder)
    store.fill({"good.csv": "a\n1\n"})
    return store


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def children() -> set[int]:
    """Processes that this one has begun."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


async def said(store: Store, path: str, seconds: float = 15, **arguments: Any) -> str:
    """What the model reads of the file, or the sentence that refuses it, after which the worker is as it was."""
    known = children()
    before, began = memory(), time.monotonic()
    result = await store.call("read_file", path=path, seconds=seconds, **arguments)
    assert time.monotonic() - began < seconds + 1
    info = await store.call("get_file_info", path=path, seconds=min(seconds, 4))
    assert info["isError"] is False
    assert memory() - before < GROWTH
    assert children() <= known
    assert (await store.ask("read_file", path="good.csv"))["rows"] == [[1]]
    if result["isError"]:
        code = result["_meta"]["isthmus/error"]
        assert issubclass(CATALOGUE[code], ToolError)
    text = result["content"][0]["text"]
    assert len(text.encode()) <= 300 * 1024
    assert not re.search(r"/tmp|/proc|Traceback|Error\b|python", text)  # noqa: S108
    return text


def packed(files: dict[str, bytes | int], office: bytes | None = None) -> bytes:
    """A ZIP archive; a number stands for so many zeros. With `office`, these files come in place of those in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if office is not None:
            with zipfile.ZipFile(io.BytesIO(office)) as old:
                for name in old.namelist():
                    if name not in files:
                        archive.writestr(name, old.read(name))
        for name, content in files.items():
            with archive.open(name, "w") as entry:
                if isinstance(content, bytes):
                    entry.write(content)
                    continue
                for _ in range(content // 2**20):
                    entry.write(bytes(2**20))
    return out.getvalue()


# Bombs

BROKEN = r"a.{} is no .* that can be read\."
TOO_MUCH = r"a.{} cannot be read: it is broken, or reading it takes more than the 512 MB of memory .*\."


@pytest.mark.parametrize(("ending", "part"), [("docx", "word/document.xml"), ("xlsx", "xl/worksheets/sheet1.xml")])
async def test_an_office_file_that_unpacks_to_very_much_is_not_unpacked(store: Store, ending: str, part: str) -> None:
    store.fill({f"a.{ending}": packed({part: 250 * 2**20}, samples_of(ending))})
    assert re.fullmatch(
        rf"a\.{ending} has \d+ parts of 26\d+ bytes inside, and 20000 parts of 209715200 bytes can be read\.",
        await said(store, f"a.{ending}"),
    )


@pytest.mark.parametrize(
    ("ending", "part"),
    [("docx", "word/document.xml"), ("xlsx", "xl/worksheets/sheet1.xml"), ("pptx", "ppt/presentation.xml")],
)
async def test_an_office_file_that_lies_about_how_large_it_is_inside_is_refused(
    store: Store, ending: str, part: str
) -> None:
    data = packed({part: 2**30 if ending == "xlsx" else 100 * 2**20}, samples_of(ending))
    store.fill({f"a.{ending}": lying(data, part)})
    assert re.fullmatch(f"{BROKEN}|{TOO_MUCH}".format(ending, ending), await said(store, f"a.{ending}"))


def samples_of(ending: str) -> bytes:
    content = samples.every_format()[f"a.{ending}"]
    assert isinstance(content, bytes)
    return content


def lying(data: bytes, part: str) -> bytes:
    """The same archive, in which the directory says that the part has 1,000 bytes."""
    changed = bytearray(data)
    at = changed.index(b"PK\1\2")
    while bytes(changed[at + 46 : at + 46 + len(part)]) != part.encode():
        at = changed.index(b"PK\1\2", at + 4)
    changed[at + 24 : at + 28] = struct.pack("<I", 1000)
    return bytes(changed)


async def test_a_workbook_with_a_cell_in_its_last_corner_is_refused(store: Store) -> None:
    store.fill({"a.xlsx": packed({"xl/worksheets/sheet1.xml": CORNER}, samples_of("xlsx"))})
    assert re.fullmatch(TOO_MUCH.format("xlsx"), await said(store, "a.xlsx"))


async def test_a_zip_in_a_zip_in_a_zip_is_only_listed(store: Store) -> None:
    data = b"0" * 2**20
    for level in range(50):
        data = samples.zipped({f"{level}.zip": data})
    store.fill({"a.zip": data})
    assert (await said(store, "a.zip")).splitlines()[1].startswith("49.zip\t")


async def test_a_zip_that_says_it_has_sixty_thousand_files_of_four_gigabytes_is_only_listed(store: Store) -> None:
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 8, 0, 0, 0, 99, 2**32 - 2, 1, 0, 0, 0, 0, 0, 0) + b"x"
    )
    count = 60_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entry) * count, 4, 0)
    store.fill({"a.zip": b"PK\3\4" + entry * count + end})
    text = await said(store, "a.zip", limit=2)
    assert text.splitlines()[1] == "x\t4294967294\t1980-00-00T00:00:00"


@pytest.mark.parametrize("name", ["a.tar.gz", "a.gz"])
async def test_an_archive_that_unpacks_for_ever_is_stopped(store: Store, name: str) -> None:
    head = bytearray(samples.tarred({"huge": b""})[:512])
    head[124:136] = b"%011o\0" % (2**33 - 1)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    store.fill({name: gzip.compress(bytes(head)) + gzip.compress(bytes(2**24), 1) * 640})
    text = await said(store, name, seconds=1, start=2)
    assert text == f"Reading {name} took too long and was stopped."


async def test_a_tar_with_absurd_sizes_is_refused(store: Store) -> None:
    data = bytearray(samples.tarred({"a": b"x", "b": b"y"}))
    data[124:136] = b"\x80" + (2**62).to_bytes(11, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    store.fill({"a.tar": bytes(data)})
    text = await said(store, "a.tar")
    assert text == "a.tar is no tar archive that can be read."


async def test_a_pdf_with_a_page_that_unpacks_to_very_much_is_stopped(store: Store) -> None:
    stream = zlib.compress(b"(x) Tj " * 40_000_000, 1)
    page = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream)
    store.fill({"a.pdf": samples.pdf_of([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
        page,
    ])})  # fmt: skip
    text = await said(store, "a.pdf", seconds=6)
    assert re.fullmatch(TOO_MUCH.format("pdf") + r"|Reading a\.pdf took too long and was stopped\.", text) or (
        text == "[Page 1 of 1]\n[This page has no text; it may be a scan.]"
    )


async def test_a_pdf_whose_pages_go_round_in_circles_or_very_deep_is_refused_or_read(store: Store) -> None:
    deep = [b"<< /Type /Pages /Count 1 /Kids [%d 0 R] /Parent %d 0 R >>" % (n + 3, n + 1) for n in range(5000)]
    store.fill(
        {
            "circle.pdf": samples.pdf_of(
                [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 2000000000 /Kids [2 0 R] >>"]
            ),
            "deep.pdf": samples.pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", *deep, b"<< /Type /Page >>"]),
        }
    )
    for name in ("circle.pdf", "deep.pdf"):
        text = await said(store, name, limit=2)
        assert re.match(rf"{name} is no PDF document that can be read\.|\[Page 1 of \d+\]\n\[This page", text), text


def png(width: int, height: int) -> bytes:
    """A white PNG image of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes((width + 7) // 8 + 1)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_an_image_that_unpacks_to_very_much_is_refused(store: Store) -> None:
    jpeg = bytearray(samples.image(64, 64, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    store.fill({"a.png": png(30_000, 30_000), "a.jpg": bytes(jpeg)})
    assert await said(store, "a.png") == (
        'a.png has 30000 x 30000 pixels, and 50000000 can be shown; encoding "base64" gives its bytes in parts.'
    )
    assert re.fullmatch(f"{BROKEN}|{TOO_MUCH}|a.jpg has 60000.*".format("jpg", "jpg"), await said(store, "a.jpg"))
    assert (await store.ask("get_file_info", path="a.png"))["width"] == 30_000


# Tables and texts without an end


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.html", "a.eml"])
async def test_a_gigabyte_without_a_line_end_is_refused_or_cut(store: Store, name: str) -> None:
    with (store.root / name).open("wb") as file:
        file.write(b"x" * 100_000)
        file.truncate(2**30)
    text = await said(store, name)
    if name == "a.txt":
        assert len(text) == 256 * 1024
    else:
        assert re.fullmatch(r"a\.\w+ has (more than \d+ characters in line 1|1073741824 bytes), .*\.", text), text


async def test_a_table_of_a_million_columns_shows_the_first_and_says_so(store: Store) -> None:
    store.fill({"a.csv": ",".join(f"c{n}" for n in range(600_000)) + "\n" + "1," * 599_999 + "1\n"})
    text = await said(store, "a.csv")
    assert text.splitlines()[0].startswith("c0\tc1\tc2")
    assert text.endswith("(It has 600000 columns; the first 1000 are here, `columns` chooses others.)")
    assert (await store.ask("read_file", path="a.csv", columns=["c599999"]))["rows"] == [[1]]
    store.fill({"b.jsonl": "{" + ",".join(f'"c{n}":1' for n in range(200_000)) + "}\n"})
    assert "It has 200000 columns" in await said(store, "b.jsonl")


async def test_names_without_end_do_not_fill_the_answer(store: Store) -> None:
    store.fill({"a.jsonl": f'{{"{"n" * 3_000_000}":1,"id":2}}\n', "b.csv": f"{'n' * 500_000},id\n1,2\n"})
    for name in ("a.jsonl", "b.csv"):
        await said(store, name)
        assert (await store.ask("read_file", path=name, columns=["id"]))["rows"] == [[2]]
        assert len(str(await store.ask("get_file_info", path=name))) < 2000
    assert (await store.refused("read_file", path="b.csv", columns=["id"] * 1001))[0] == "too_large"


async def test_quotes_that_never_end_are_refused(store: Store) -> None:
    store.fill({"a.csv": 'a,b\n1,"' + "x\n" * 3_000_000})
    assert await said(store, "a.csv") == "a.csv is no CSV table that can be read."


async def test_numbers_and_texts_that_json_alone_can_write_are_read_or_refused(store: Store) -> None:
    store.fill({"a.jsonl": '{"n":' + "9" * 5000 + '}\n{"n":1e999}\n', "b.jsonl": '{"t":"\\ud800"}\n'})
    for name in ("a.jsonl", "b.jsonl"):
        text = await said(store, name)
        assert re.match(rf"n\n|t\n|{name} is no|Line 1 of {name} is no", text), text


@pytest.mark.parametrize("length", [0, 16, 2**31 - 1])
async def test_parquet_with_a_footer_that_lies_is_refused(store: Store, length: int) -> None:
    data = samples_of("parquet")
    store.fill({"a.parquet": data[:-8] + struct.pack("<I", length) + b"PAR1"})
    assert await said(store, "a.parquet") == "a.parquet is no Parquet table that can be read."


# XML and HTML that reach out or swell


@pytest.mark.parametrize("ending", ["docx", "pptx", "xlsx"])
async def test_entities_of_xml_neither_swell_nor_reach_out(store: Store, tmp_path: Path, ending: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    part = {"docx": "word/document.xml", "pptx": "ppt/slides/slide2.xml", "xlsx": "xl/sharedStrings.xml"}[ending]
    with zipfile.ZipFile(io.BytesIO(samples_of(ending))) as office:
        source = office.read(part).decode()
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        outside = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        for entities in (
            f'<!ENTITY l0 "ha">{laughs}',
            f'<!ENTITY l11 SYSTEM "file://{secret}">',
            f'<!ENTITY l11 SYSTEM "{outside}">',
        ):
            head, _, root = source.partition("?>\n" if "?>\n" in source else "?>")
            root = re.sub(r"(<(?:\w+:)?t>)[^<]*", r"\1&l11;", root)
            assert "&l11;" in root
            store.fill(
                {f"a.{ending}": packed({part: f"{head}?><!DOCTYPE x [{entities}]>{root}".encode()}, samples_of(ending))}
            )
            text = await said(store, f"a.{ending}")
            assert "the secret" not in text
            assert "haha" not in text
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_svg_and_html_are_only_texts(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    entity = f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>'
    store.fill(
        {
            "a.svg": f"{entity}<svg>&x;</svg>".replace(str(tmp_path), ""),
            "a.html": f"{entity}<p>&x;</p><iframe src='file:///secret.txt'></iframe><object data='http://x'>".replace(
                str(tmp_path), ""
            ),
            "deep.html": "<div>" * 10_000 + "text",
            "deeper.html": "<div>" * 300_000 + "text",
            "tables.html": "<table><tr><td>" * 5_000 + "text",
        }
    )
    assert "&x;" in await said(store, "a.svg")
    assert "&x;" in await said(store, "a.html")
    for name in ("deep.html", "tables.html"):
        assert "text" in await said(store, name)
    assert await said(store, "deeper.html", seconds=1) == "Reading deeper.html took too long and was stopped."


async def test_an_e_mail_with_ten_thousand_parts_within_each_other_is_refused_or_read(store: Store) -> None:
    head = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(10_000))
    flat = 'Content-Type: multipart/mixed; boundary="b"\nSubject: many\n\n' + "--b\n\nx\n" * 10_000
    store.fill({"deep.eml": f"From: a@b\n{head}\ntext", "flat.eml": f"From: a@b\n{flat}"})
    assert re.match(r"deep\.eml is no e-mail that can be read\.|\[Page 1", await said(store, "deep.eml"))
    assert "Subject: many" in await said(store, "flat.eml")


# Locks


async def test_what_wants_a_password_is_said_to(store: Store) -> None:
    locked = bytearray(samples.zipped({"a.txt": b"x"}))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    encryption = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]" % (
        b"41" * 32,
        b"42" * 32,
    )
    store.fill(
        {
            "a.zip": bytes(locked),
            "a.pdf": samples.pdf("secret", trailer=encryption),
            "a.xlsx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
            "a.docx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        }
    )
    assert (await said(store, "a.zip")).endswith("(Its files are protected by a password.)")
    for name in ("a.pdf", "a.xlsx", "a.docx"):
        text = await said(store, name)
        assert text.startswith(f"{name} is protected by a password"), text


# The process that reads


class Bytes:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.status = Status("file", len(data), datetime.now(UTC), "e")

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def stream(self, stop: Stop) -> io.RawIOBase:
        raise NotImplementedError


class Held(Bytes):
    """One that is not read before it is let go."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()

    def read(self, offset: int, size: int) -> bytes:
        self.begun.release()
        assert self.go_on.wait(10)
        return super().read(offset, size)


def test_the_process_that_reads_has_no_credentials_and_little_of_everything() -> None:
    os.environ["ISTHMUS_TEST_SECRET"] = "secret"
    try:
        with Reader(Stop(20)) as reader:
            known = children()
            file = Bytes(b"a\n1\n")
            reader.extract(file, job_for(media.Table("csv", "text/csv", "utf-8"), file, "a.csv", "read", budget=9000))
            (pid,) = children() - known or children()
            process = Path(f"/proc/{pid}")
            assert process.joinpath("environ").read_bytes() == b"MALLOC_ARENA_MAX=1\0"
            limits = process.joinpath("limits").read_text()
            assert re.search(rf"Max address space +{MEMORY} +{MEMORY}", limits)
            for name in ("file size", "core file size"):
                assert re.search(rf"Max {name} +0 +0", limits)
            assert "NoNewPrivs:\t1" in process.joinpath("status").read_text()
            assert process.joinpath("cwd").readlink() == Path("/")
            assert len(list(process.joinpath("fd").iterdir())) == 3
    finally:
        del os.environ["ISTHMUS_TEST_SECRET"]
    assert pid not in children()


@pytest.mark.skipif(
    ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < 4,
    reason="this kernel has no Landlock for connections",
)
def test_the_process_that_reads_opens_no_file_but_its_own_and_no_connection(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"""
import os, socket
from isthmus_file_worker.readers.confinement import confine
from isthmus_file_worker.readers.__main__ import module_of
confine()
for attempt in (
    lambda: open({str(secret)!r}),
    lambda: open("/proc/self/environ"),
    lambda: os.listdir("/"),
    lambda: open({str(tmp_path / "new")!r}, "w"),
    lambda: os.execv("/bin/true", ["true"]),
    lambda: socket.create_connection({server.getsockname()!r}),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
for name in ("csv", "jsonl", "parquet", "workbook", "pdf", "docx", "pptx", "html", "eml", "zip", "image"):
    module_of(name)
print("all there")
"""
        done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["refused"] * 6 + ["all there"], done.stderr


async def test_a_call_that_is_cancelled_takes_its_process_with_it(store: Store) -> None:
    store.fill({"a.tar.gz": gzip.compress(samples.tarred({"a": b""})[:512]) + gzip.compress(bytes(2**24), 1) * 2000})
    known = children()
    call = asyncio.create_task(store.call("read_file", path="a.tar.gz", start=2))
    await until(lambda: children() > known)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: children() <= known)


async def test_many_files_are_read_at_a_time_by_few_processes(store: Store) -> None:
    answers = await asyncio.gather(*(store.ask("read_file", path="good.csv") for _ in range(24)))
    assert [answer["rows"] for answer in answers] == [[[1]]] * 24
    file = Bytes(b"a\n1\n")
    job = job_for(media.Table("csv", "text/csv", "utf-8"), file, "a.csv", "read", budget=9000)
    known = children()
    with ExitStack() as calls:
        readers = [calls.enter_context(Reader(Stop(20))) for _ in range(2 * AT_A_TIME)]
        for reader in (*readers, *readers):  # each makes room, while it has nothing to do, for the next
            assert reader.extract(file, job)
            assert len(children() - known) <= AT_A_TIME
    assert children() <= known


def test_who_finds_no_room_in_time_is_told_so() -> None:
    file, held = Bytes(b"a\n1\n"), Held(b"a\n1\n")
    job = job_for(media.Table("csv", "text/csv", "utf-8"), file, "a.csv", "read", budget=9000)

    def read() -> object:
        with Reader(Stop(20)) as reader:
            return reader.extract(held, job)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        reading = [pool.submit(read) for _ in range(AT_A_TIME)]
        for _ in reading:
            assert held.begun.acquire(timeout=10)
        with Reader(Stop(20)) as reader, pytest.raises(ToolError, match=r"^Too many files are being read"):
            reader.extract(file, job, seconds=0.2)
        held.go_on.set()
        assert all(one.result() for one in reading)
    with Reader(Stop(20)) as reader:
        assert reader.extract(file, job)


def test_a_process_that_dies_is_replaced_for_the_next_file() -> None:
    good = Bytes(b"a\n1\n")
    bad = Bytes(packed({"xl/worksheets/sheet1.xml": CORNER}, samples_of("xlsx")))
    table, workbook = media.Table("csv", "text/csv", "utf-8"), media.Table("workbook", "")
    with Reader(Stop(20)) as reader:
        for _ in range(2):
            with pytest.raises(ToolError):
                reader.extract(bad, job_for(workbook, bad, "a.xlsx", "read", budget=9000))
            assert reader.extract(good, job_for(table, good, "a.csv", "read", budget=9000))


def test_a_file_that_is_cut_short_while_it_is_read_is_said_to_be() -> None:
    data = samples.every_format()["a.pdf"]
    assert isinstance(data, bytes)
    file = Bytes(data)
    file.data = data[:100]
    with (
        Reader(Stop(20)) as reader,
        pytest.raises(ToolError, match=r"a\.pdf was changed by another"),
    ):
        reader.extract(file, job_for(media.Document("pdf", ""), file, "a.pdf", "read", budget=9000))


# Anything


FORMATS = samples.every_format()
SLOW = (
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
    HealthCheck.function_scoped_fixture,
)
EXAMPLES = int(os.environ.get("ISTHMUS_EXAMPLES", "10"))


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, bytes]:
    """A sample of which some bytes are other ones, missing or new; or any bytes under its name."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    content = FORMATS[name]
    data = bytearray(content if isinstance(content, bytes) else content.encode())
    if draw(st.integers(0, 9)) == 0:
        return name, draw(st.binary(max_size=500))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[place : place + draw(st.integers(1, 8))] = b""
            case 1:
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case 2:
                data[place : place + 4] = draw(st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"9999"]))
            case _:
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
    return name, bytes(data)


@given(st.lists(broken(), min_size=20, max_size=20), st.sampled_from(["read", "inspect", "text"]), st.integers(1, 3))
@settings(max_examples=EXAMPLES, suppress_health_check=SLOW)
def test_a_file_that_is_broken_anyhow_gives_an_answer_or_a_sentence(
    files: list[tuple[str, bytes]], task: Any, start: int
) -> None:
    with Reader(Stop(60)) as reader:
        for name, data in files:
            file = Bytes(data)
            original = FORMATS[name]
            kind = media.recognize(original if isinstance(original, bytes) else b"", name, whole=True)
            assert isinstance(kind, media.Table | media.Document | media.Archive | media.Image)
            job = job_for(kind, file, name, task, budget=10_000)
            try:
                reader.extract(file, msgspec.structs.replace(job, start=start), seconds=5)
            except ToolError as error:
                assert error.message.endswith(".")  # noqa: PT017


@given(broken())
@settings(max_examples=EXAMPLES, suppress_health_check=SLOW)
async def test_a_file_that_is_broken_anyhow_is_answered_by_the_tool(store: Store, file: tuple[str, bytes]) -> None:
    name, data = file
    store.fill({name: data})
    for tool in ("read_file", "get_file_info"):
        result = await store.call(tool, path=name)
        assert result["content"][0]["text"]
        if result["isError"]:
            assert issubclass(CATALOGUE[result["_meta"]["isthmus/error"]], ToolError)
