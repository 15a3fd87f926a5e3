"""`read_file` and `get_file_info`: tables by rows, documents by pages, archives by entries, images that fit."""

import base64
import io
import json
import re
import zipfile
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig
from PIL import Image
from pyarrow import parquet

import samples
from buckets import Endpoint
from isthmus.errors import ToolError
from isthmus_file_worker import extracting, media
from isthmus_file_worker.threads import Stop
from stores import FolderPlace, Place, Store

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def store(folder: FolderPlace) -> Store:
    return Store.at(folder)


async def text_of(store: Store, path: str, **arguments: Any) -> str:
    """What a model reads."""
    result = await store.call("read_file", path=path, **arguments)
    assert result["isError"] is False, result["content"]
    (content,) = result["content"]
    return content["text"]


async def table_of(store: Store, path: str, **arguments: Any) -> tuple[list[str], list[list[Any]]]:
    answer = await store.ask("read_file", path=path, **arguments)
    assert answer["kind"] == "table"
    return answer["columns"], answer["rows"]


KINDS = {
    "table": ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.xlsx"],
    "document": ["a.pdf", "a.docx", "a.pptx", "a.html", "a.eml"],
    "archive": ["a.zip", "a.tar", "a.tar.gz", "a.gz"],
    "image": ["a.png", "a.jpg", "a.gif", "a.webp"],
}


async def test_every_format_is_read(store: Store) -> None:
    store.fill(samples.every_format())
    for kind, names in KINDS.items():
        assert [(await store.ask("read_file", path=name))["kind"] for name in names] == [kind] * len(names)


async def test_every_kind_is_read_alike_from_every_store(place: Place) -> None:
    store = Store.at(place)
    files = {name: samples.every_format()[name] for name in ("a.csv", "a.parquet", "a.pdf", "a.zip", "a.png")}
    store.fill(files)
    for name in files:
        result = await store.call("read_file", path=name)
        assert result["isError"] is False, result
        info = await store.ask("get_file_info", path=name)
        assert {"columns", "pages", "entries", "width"} & info.keys()
        assert info["etag"] == result["structuredContent"]["etag"]


# Tables


@pytest.mark.parametrize(
    "source",
    [
        'id,name,note\n1,tea,"a, ""b"""\n2,coffee,\n',
        'id;name;note\r\n1;tea;"a, ""b"""\r\n2;coffee;\r\n',
        'id\tname\tnote\n1\ttea\t"a, ""b"""\n2\tcoffee\t',
        'sep=|\nid|name|note\n1|tea|"a, ""b"""\n\n2|coffee|\n',
    ],
)
async def test_what_stands_between_values_is_found_out(store: Store, source: str) -> None:
    store.fill({"a.csv": source})
    assert await table_of(store, "a.csv") == (["id", "name", "note"], [[1, "tea", 'a, "b"'], [2, "coffee", None]])
    assert await text_of(store, "a.csv") == 'id\tname\tnote\n1\ttea\ta, "b"\n2\tcoffee\tnull\n(2 rows)'


async def test_a_part_of_a_table_has_the_chosen_columns_and_says_how_to_go_on(store: Store) -> None:
    store.fill({"a.csv": "id,name,price\n" + "".join(f"{n},name {n},{n}.25\n" for n in range(1, 101))})
    assert await text_of(store, "a.csv", start=99, limit=1, columns=["price", "id"]) == (
        "price\tid\n99.25\t99\n(rows 99 to 99; more follow: go on with start=100)"
    )
    end = await store.ask("read_file", path="a.csv", start=100, limit=1)
    assert (end["rows"], end["truncated"], end["total"]) == ([[100, "name 100", 100.25]], False, 100)
    assert "next_start" not in end
    for start in (101, 102):
        assert await store.refused("read_file", path="a.csv", start=start) == ("not_found", "a.csv has 100 rows.")
    assert (await store.refused("read_file", path="a.csv", columns=["nmae"]))[1] == (
        "a.csv has no column nmae. Did you mean name?"
    )


async def test_values_are_numbers_only_where_nothing_is_lost(store: Store) -> None:
    store.fill({"a.csv": "zip,version,count,day,mixed\n01067,1.50,7,2026-01-02,1\n10115,2.0,-3,2026-01-03,x\n"})
    assert (await table_of(store, "a.csv"))[1] == [
        ["01067", "1.50", 7, "2026-01-02", "1"],
        ["10115", "2.0", -3, "2026-01-03", "x"],
    ]


async def test_headers_that_are_odd_and_rows_that_are_ragged_are_said_to_be(store: Store) -> None:
    store.fill({"a.csv": "a,a,\n1\n1,2,3,4\n", "b.csv": "2026-01-01,5\n2026-01-02,6\n", "c.csv": "only\n", "d.csv": ""})
    assert await table_of(store, "a.csv") == (
        ["a", "a_2", "column3", "column4"],
        [[1, None, None, None], [1, 2, 3, 4]],
    )
    said = await text_of(store, "a.csv")
    assert "Names of columns that are missing" in said
    assert "2 rows have more or fewer values than the 3 of the first row." in said
    assert await table_of(store, "b.csv") == (["column1", "column2"], [["2026-01-01", 5], ["2026-01-02", 6]])
    assert await text_of(store, "c.csv") == "only\n(0 rows)"
    assert await text_of(store, "d.csv") == "[The file is empty.]"


async def test_a_table_in_another_encoding_comes_out_right_and_a_named_one_reads_the_text(store: Store) -> None:
    rows = "Stadt;Größe\n" + "Köln;groß\nDüsseldorf;größer, schöner und länger\n" * 20
    store.fill({"a.csv": rows.encode("cp1252")})
    assert (await table_of(store, "a.csv", limit=1)) == (["Stadt", "Größe"], [["Köln", "groß"]])
    plain = await store.ask("read_file", path="a.csv", encoding="cp1252", limit=1)
    assert (plain["kind"], plain["content"]) == ("text", "Stadt;Größe\n")
    assert (await store.ask("read_file", path="a.csv", offset=0, limit=9))["content"] == "Stadt;Grö"


async def test_a_long_table_comes_in_parts_that_join_to_the_whole(store: Store) -> None:
    store.fill({"a.csv": "id,text\n" + "".join(f'{n},"{"ü" * 100}\n\t"\n' for n in range(3000))})
    rows: list[Any] = []
    start = 1
    while start:
        part = await store.ask("read_file", path="a.csv", start=start)
        assert len(json.dumps(part, ensure_ascii=False).encode()) <= 256 * 1024
        rows += part["rows"]
        start = part.get("next_start", 0)
    assert rows == [[n, "ü" * 100 + "\n\t"] for n in range(3000)]


async def test_a_row_too_large_for_an_answer_is_cut_and_said_to_be(store: Store) -> None:
    store.fill({"a.csv": f"id,text\n1,{'x' * 500_000}\n2,y\n"})
    result = await store.call("read_file", path="a.csv")
    row = result["structuredContent"]["rows"][0]
    assert row[0] == 1
    assert re.fullmatch("x{8000,}…", row[1])
    assert "The first row is too large for an answer" in result["content"][0]["text"]


async def test_lines_of_json_have_all_columns_of_their_rows(store: Store) -> None:
    store.fill({"a.jsonl": '{"id":1,"tags":["a"],"in":{"x":null}}\n\n{"id":2,"big":12345678901234567}\n7\n'})
    assert await table_of(store, "a.jsonl") == (
        ["id", "tags", "in", "big", "value"],
        [
            [1, ["a"], {"x": None}, None, None],
            [2, None, None, "12345678901234567", None],
            [None, None, None, None, 7],
        ],
    )
    assert (await text_of(store, "a.jsonl", limit=1)).splitlines() == [
        "id\ttags\tin",
        '1\t["a"]\t{"x":null}',
        "(rows 1 to 1; more follow: go on with start=2)",
    ]
    assert await table_of(store, "a.jsonl", start=2, columns=["id"], limit=1) == (["id"], [[2]])
    info = await store.ask("get_file_info", path="a.jsonl")
    assert info["rows"] == 3
    assert info["columns"][:2] == [{"name": "id", "type": "number"}, {"name": "tags", "type": "array"}]


async def test_a_line_that_is_no_json_is_named(store: Store) -> None:
    store.fill({"a.jsonl": '{"id":1}\n{id:2}\n', "deep.jsonl": "[" * 100_000})
    assert (await store.refused("read_file", path="a.jsonl"))[1] == (
        'Line 2 of a.jsonl is no JSON that can be read; encoding "utf-8" reads the file as text.'
    )
    assert (await store.refused("read_file", path="deep.jsonl"))[1].startswith("Line 1 of deep.jsonl is no JSON")


async def test_parquet_has_values_as_json_has_them_and_only_the_wanted_rows_are_read(store: Store) -> None:
    store.fill({"a.parquet": samples.columns(1000, 100)})
    answer = await store.ask("read_file", path="a.parquet", start=499, limit=2)
    assert answer["rows"][0] == [
        499, "name 499", "124.75", "2026-01-01", "2023-11-14 22:13:20.000000001Z", ["a", "b"], "AP8=",
    ]  # fmt: skip
    assert (answer["rows"][1][0], answer["total"], answer["next_start"]) == (500, 1000, 501)
    assert await table_of(store, "a.parquet", start=1000, columns=["name"]) == (["name"], [["name 1000"]])
    info = await store.ask("get_file_info", path="a.parquet")
    assert info["rows"] == 1000
    assert info["columns"][2] == {"name": "price", "type": "decimal128(10, 2)"}


async def test_parquet_with_columns_of_one_name_keeps_them_apart(store: Store) -> None:
    file = io.BytesIO()
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), file)
    store.fill({"a.parquet": file.getvalue()})
    assert await table_of(store, "a.parquet") == (["a", "a_2"], [[1, 2]])


async def test_a_workbook_is_read_sheet_by_sheet(store: Store) -> None:
    sales = [["id", "day", "price", "note"], [1, date(2026, 1, 2), 2.5, None], [2, None, 3.0, "x"]]
    store.fill({"a.xlsx": samples.workbook({"Sales": sales, "Costs 2026": [["a"], ["b"]]})})
    answer = await store.ask("read_file", path="a.xlsx")
    assert (answer["columns"], answer["rows"]) == (sales[0], [[1, "2026-01-02", 2.5, None], [2, None, 3, "x"]])
    assert (answer["sheet"], answer["sheets"], answer["total"]) == ("Sales", ["Sales", "Costs 2026"], 2)
    assert await text_of(store, "a.xlsx", sheet="Costs 2026") == (
        "a\nb\n(sheet Costs 2026 of Sales, Costs 2026)\n(1 row)"
    )
    assert (await store.refused("read_file", path="a.xlsx", sheet="Cost 2026"))[1] == (
        "a.xlsx has no sheet Cost 2026. Did you mean Costs 2026?"
    )
    info = await store.ask("get_file_info", path="a.xlsx")
    assert (info["sheets"], info["rows"]) == (["Sales", "Costs 2026"], 2)


async def test_a_workbook_of_libreoffice_is_read_too(store: Store) -> None:
    names = {"office": "office", "table": "table", "text": "text"}
    spaces = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{of}:1.0"' for n, of in names.items())

    def row(*values: str | int) -> str:
        cells = "".join(
            f'<table:table-cell office:value-type="float" office:value="{value}"/>'
            if isinstance(value, int)
            else f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
            for value in values
        )
        return f"<table:table-row>{cells}</table:table-row>"

    content = (
        f'<?xml version="1.0"?><office:document-content {spaces}><office:body><office:spreadsheet>'
        f'<table:table table:name="Sheet 1">{row("id", "name")}{row(1, "tea")}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = b"application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        b'<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    )
    files = {"mimetype": kind, "content.xml": content.encode(), "META-INF/manifest.xml": manifest}
    store.fill({"a.ods": samples.zipped(files, zipfile.ZIP_STORED)})
    assert await table_of(store, "a.ods") == (["id", "name"], [[1, "tea"]])


async def test_bytes_that_do_not_decode_in_a_table_are_said_to_be_there(store: Store) -> None:
    store.fill({"a.csv": b"id,name\n" + b"1,tea\n" * 20_000 + b"2,caf\xe9\n"})
    said = await text_of(store, "a.csv", start=20_000)
    assert said.endswith("(Some bytes are not valid utf-8 and show as \ufffd.)")
    assert "(Some bytes" not in await text_of(store, "a.csv", limit=5)


# Documents


async def test_a_pdf_is_read_page_by_page(store: Store) -> None:
    store.fill({"a.pdf": samples.pdf("Über uns (alle)\nSecond line", "", *(f"Page number {n}" for n in range(3, 11)))})
    assert await text_of(store, "a.pdf", limit=2) == (
        "[Page 1 of 10]\nÜber uns (alle)\nSecond line\n\n[Page 2 of 10]\n[This page has no text; it may be a scan.]\n\n"
        "[There are more pages: go on with start=3.]"
    )
    answer = await store.ask("read_file", path="a.pdf", start=10)
    assert answer["content"] == "[Page 10 of 10]\nPage number 10"
    assert (answer["kind"], answer["pages"], answer["truncated"]) == ("document", 10, False)
    assert await store.refused("read_file", path="a.pdf", start=11) == ("not_found", "a.pdf has 10 pages.")
    assert (await store.ask("get_file_info", path="a.pdf"))["pages"] == 10
    assert (await store.refused("read_file", path="a.pdf", offset=0))[1] == (
        'a.pdf is no text, so `offset` goes with encoding "base64".'
    )


async def test_a_word_document_has_headings_paragraphs_and_tables_in_order(store: Store) -> None:
    store.fill({"a.docx": samples.word(["# Prices", "All of them.", "## Tea", "x" * 4000])})
    assert await text_of(store, "a.docx") == (
        f"[Page 1 of 3]\n# Prices\nAll of them.\n## Tea\n\n[Page 2 of 3]\n{'x' * 4000}\n\n"
        "[Page 3 of 3]\nProduct\tPrice\nTea\t3.50\nThe end."
    )
    assert (await store.ask("get_file_info", path="a.docx"))["pages"] == 3


async def test_a_presentation_is_read_slide_by_slide(store: Store) -> None:
    store.fill({"a.pptx": samples.slides()})
    assert await text_of(store, "a.pptx") == (
        "[Page 1 of 2]\n# Revenue\nIt grew.\nNotes: Say it slowly.\n\n[Page 2 of 2]\nTea\t12\nWithin a group"
    )


async def test_of_html_there_is_what_a_person_would_read(store: Store) -> None:
    source = """<!DOCTYPE html><html><head><title>Our  shop</title><style>p {}</style></head><body>
      <h2>Prices &amp; more</h2><script>alert(1)</script><p>See <a href="/x">the list</a>,<br>or ask.</p>
      <ul><li>one</li><li>two</li></ul>
      <table><tr><th>Tea</th><td>3</td></tr><tr><td>Coffee</td><td>4</td></tr></table></body></html>"""
    store.fill({"a.html": source})
    assert (await text_of(store, "a.html")).splitlines() == [
        "[Page 1 of 1]", "Title: Our shop", "## Prices & more", "See the list,", "or ask.", "- one", "- two",
        "Tea\t3", "Coffee\t4",
    ]  # fmt: skip
    assert (await store.ask("read_file", path="a.html", encoding="utf-8"))["content"] == source


async def test_an_e_mail_has_its_headers_its_text_and_what_is_attached(store: Store) -> None:
    store.fill({"a.eml": samples.mail(), "b.eml": samples.mail(html=True)})
    assert (await text_of(store, "a.eml")).splitlines() == [
        "[Page 1 of 1]", "From: Änne Muster <aenne@example.org>", "To: team@example.org",
        "Date: Mon, 05 Jan 2026 10:00:00 +0100", "Subject: Übersicht für Zürich", "", "Grüße an alle.", "",
        "Bis bald.", "", "Attachment: plan.pdf (application/pdf, 5 bytes)",
    ]  # fmt: skip
    said = await text_of(store, "b.eml")
    assert "\nGrüße alle\n" in said
    assert "bad()" not in said


async def test_a_long_document_comes_in_parts_that_join_to_the_whole(store: Store) -> None:
    pages = [f"{n} " + "word " * 600 for n in range(200)]
    store.fill({"a.html": "".join(f"<p>{page}</p>" for page in pages)})
    found: list[str] = []
    start = 1
    while start:
        part = await store.ask("read_file", path="a.html", start=start)
        assert len(part["content"].encode()) <= 257 * 1024
        found.append(part["content"])
        start = part.get("next_start", 0)
    assert len(found) == 3
    assert [n for n in range(200) if f"]\n{n} word" not in "".join(found)] == []


# Archives and images


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
async def test_of_an_archive_there_is_a_list(store: Store, name: str) -> None:
    files = {"in/": b"", "in/ä.txt": b"12345", "b": b""}
    packing = {"a.tar": "", "a.tgz": "gz"}.get(name, name.rpartition(".")[2])
    store.fill({name: samples.zipped(files) if name == "a.zip" else samples.tarred(files, packing)})
    answer = await store.ask("read_file", path=name, limit=2)
    assert (answer["kind"], answer["columns"]) == ("archive", ["path", "size", "modified"])
    assert [row[:2] for row in answer["rows"]] == [["in/", None], ["in/ä.txt", 5]]
    assert answer["rows"][1][2].startswith("2026-01-02T")
    assert answer["next_start"] == 3
    assert (await store.ask("get_file_info", path=name))["entries"] == 3


async def test_a_compressed_file_is_said_to_be_one(store: Store) -> None:
    store.fill({"notes.txt.gz": samples.every_format()["a.gz"]})
    assert (await text_of(store, "notes.txt.gz")).splitlines()[1:] == [
        "notes.txt\tnull\tnull",
        "(1 row)",
        "(This is one file, compressed, and no archive of several.)",
    ]


def shown(result: dict[str, Any]) -> Image.Image:
    """The image that a model sees."""
    data = base64.b64decode(result["content"][1]["data"])
    assert len(data) <= 1024 * 1024
    picture = Image.open(io.BytesIO(data))
    assert result["content"][1]["mimeType"] == Image.MIME[picture.format or ""]
    return picture


async def test_an_image_that_is_too_large_is_reduced_and_its_true_size_said(store: Store) -> None:
    big, clear = samples.image(4000, 1000, "JPEG"), samples.image(2000, 2000, "PNG", "RGBA")
    store.fill({"big.jpg": big, "clear.png": clear})
    result = await store.call("read_file", path="big.jpg")
    assert result["content"][0]["text"] == (
        f"big.jpg: 4000 x 1000 pixels, {len(big)} bytes; shown here as image/jpeg of 1568 x 392"
    )
    assert (shown(result).size, shown(result).format) == ((1568, 392), "JPEG")
    assert (result["structuredContent"]["width"], result["structuredContent"]["height"]) == (4000, 1000)
    result = await store.call("read_file", path="clear.png")
    assert (shown(result).size, shown(result).mode) == ((1568, 1568), "RGBA")


async def test_an_image_is_shown_upright(store: Store) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    store.fill({"a.jpg": samples.image(200, 100, "JPEG", exif=exif)})
    result = await store.call("read_file", path="a.jpg")
    picture = shown(result).convert("RGB")
    assert picture.size == (100, 200)
    red = picture.getpixel((90, 10))
    assert isinstance(red, tuple)
    assert red[0] > 200
    assert (await store.ask("get_file_info", path="a.jpg"))["width"] == 100


# What is known of a file


async def test_a_folder_and_a_text_have_few_facts(store: Store) -> None:
    store.fill({"in/a.md": "# x", "b.bin": b"\x8f\x13\0\xff"})
    assert (await store.ask("get_file_info", path="in")).keys() == {"path", "kind", "modified"}
    result = await store.call("get_file_info", path="in/a.md")
    info = result["structuredContent"]
    assert (info["size"], info["media_type"], info["encoding"]) == (3, "text/markdown", "utf-8")
    assert info["etag"] == (await store.ask("read_file", path="in/a.md"))["etag"]
    lines = result["content"][0]["text"].splitlines()
    assert lines[:3] == ["in/a.md", "kind: file", "size: 3 bytes"]
    assert (await store.ask("get_file_info", path="b.bin"))["media_type"] == "application/octet-stream"
    code, sentence = await store.refused("get_file_info", path="in/b.md")
    assert (code, sentence) == ("not_found", "There is no in/b.md. Did you mean in/a.md?")


async def test_an_object_has_the_version_and_the_metadata_that_the_bucket_keeps(moto: Endpoint) -> None:
    place = moto.bucket()
    place.client.set_bucket_versioning(place.bucket, VersioningConfig(ENABLED))
    place.client.put_object(
        place.bucket, "a.csv", io.BytesIO(b"a\n1\n"), 4, content_type="text/x-table", metadata={"Author": "Ann"}
    )
    store = Store.at(place)
    result = await store.call("get_file_info", path="a.csv")
    info = result["structuredContent"]
    assert (info["metadata"], info["media_type"], info["stored_type"]) == (
        {"author": "Ann"},
        "text/csv",
        "text/x-table",
    )
    assert info["version"]
    assert info["columns"] == [{"name": "a"}]
    assert "metadata author: Ann" in result["content"][0]["text"].splitlines()


async def test_what_may_not_be_read_has_no_facts(store: Store) -> None:
    store.fill({"public/a.csv": "a\n1\n", "secret/b.csv": "b\n2\n"})
    public = store.granted("public/**")
    assert (await public.ask("get_file_info", path="public/a.csv"))["rows"] == 1
    for tool in ("get_file_info", "read_file"):
        assert await public.refused(tool, path="secret/b.csv") == ("not_found", "There is no secret/b.csv.")


# For the search


async def test_a_reader_gives_the_text_of_several_documents_one_after_the_other(place: Place) -> None:
    store = Store.at(place)
    files = samples.every_format() | {
        "broken.pdf": b"%PDF-1.4\nnothing",
        "two.xlsx": samples.workbook({"A": [["id", "name"], [1, "tea"]], "B": [["x"]]}),
    }
    store.fill(files)
    handle = store.worker._toolbox.sources["reports"].handle  # pyright: ignore[reportPrivateUsage]

    def work(stop: Stop) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with extracting.Reader(stop) as reader:
            for name in ("a.pdf", "broken.pdf", "a.docx", "two.xlsx"):
                with handle.open_file((name,)) as file:
                    kind = media.recognized(file, name)
                    assert media.has_text_inside(kind)
                    try:
                        found[name] = extracting.document_text(reader, file, name, kind, 1_000_000).pages
                    except ToolError as error:
                        found[name] = [error.message]
        return found

    assert await handle.work(work, 20) == {
        "a.pdf": ["One page.", "Another."],
        "broken.pdf": ["broken.pdf is no PDF document that can be read."],
        "a.docx": ["One paragraph.\nProduct\tPrice\nTea\t3.50\nThe end."],
        "two.xlsx": ["id\tname\n1\ttea", "x"],
    }
