"""Small documents, tables, archives and images, made anew for each test."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from email.message import EmailMessage
from typing import Literal, cast

import docx
import pptx
import pyarrow as pa
import xlsxwriter
from PIL import Image
from pptx.util import Inches
from pyarrow import parquet


def pdf(*pages: str, objects: Sequence[bytes] = (), trailer: bytes = b"") -> bytes:
    """A PDF with a text a page, in Helvetica; more objects are numbered from 4 + 2 * pages on."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * place) for place in range(len(pages)))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), kids),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for place, text in enumerate(pages):
        lines = [
            b"(%s) Tj T*" % line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            for line in text.split("\n")
        ]
        stream = b"BT /F1 12 Tf 14 TL 50 780 Td " + b" ".join(lines) + b" ET" if text else b""
        parts += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (5 + 2 * place),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
    return pdf_of([*parts, *objects], trailer)


def pdf_of(parts: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, the first of which is its root."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places: list[int] = []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    begin = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, trailer, begin)
    return bytes(out)


def word(paragraphs: Sequence[str] = ("One paragraph.",)) -> bytes:
    """Texts that begin with `#` are headings."""
    document = docx.Document()
    for text in paragraphs:
        level = len(text) - len(text.lstrip("#"))
        if level:
            document.add_heading(text.lstrip("# "), level)
        else:
            document.add_paragraph(text)
    table = document.add_table(2, 2)
    for place, text in enumerate(("Product", "Price", "Tea", "3.50")):
        table.cell(place // 2, place % 2).text = text
    document.add_paragraph("The end.")
    return _saved(document.save)


def slides() -> bytes:
    """Two slides: a title with a text and notes; a table, and a text in a group."""
    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    assert first.shapes.title is not None
    first.shapes.title.text = "Revenue"
    first.placeholders[1].text_frame.text = "It grew."  # pyright: ignore
    notes = first.notes_slide.notes_text_frame
    assert notes is not None
    notes.text = "Say it slowly."
    second = show.slides.add_slide(show.slide_layouts[6])
    table = second.shapes.add_table(1, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Tea", "12"
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(3), Inches(4), Inches(1)).text_frame.text = "Within a group"
    return _saved(show.save)


def workbook(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """An xlsx file with these rows in these sheets."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            for place, value in enumerate(row):
                if isinstance(value, date):
                    sheet.write_datetime(number, place, datetime(value.year, value.month, value.day), day)  # noqa: DTZ001
                elif value is not None:
                    sheet.write(number, place, value)
    book.close()
    return file.getvalue()


def columns(rows: int = 3, group: int = 2) -> bytes:
    """A Parquet file with a column of each of several types, in row groups of so many rows."""
    table = pa.table(
        {
            "id": pa.array(range(1, rows + 1), pa.int64()),
            "name": pa.array([f"name {n}" if n != 2 else None for n in range(1, rows + 1)]),
            "price": pa.array([Decimal(n) / 4 for n in range(1, rows + 1)], pa.decimal128(10, 2)),
            "day": pa.array([date(2026, 1, 1)] * rows),
            "at": pa.array([1_700_000_000_000_000_001] * rows, pa.timestamp("ns", "UTC")),
            "tags": pa.array([["a", "b"]] * rows),
            "raw": pa.array([b"\0\xff"] * rows),
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file, row_group_size=group)
    return file.getvalue()


def mail(html: bool = False) -> bytes:
    """An e-mail from Zürich with an attachment."""
    message = EmailMessage()
    message["From"] = "Änne Muster <aenne@example.org>"
    message["To"] = "team@example.org"
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0100"
    message["Subject"] = "Übersicht für Zürich"
    if html:
        message.set_content("<p>Grüße <b>alle</b></p><script>bad()</script>", subtype="html")
    else:
        message.set_content("Grüße an alle.\n\nBis bald.\n")
    message.add_attachment(b"12345", maintype="application", subtype="pdf", filename="plan.pdf")
    return message.as_bytes()


def zipped(files: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), data, packing)
    return file.getvalue()


def tarred(files: Mapping[str, bytes], packing: str = "") -> bytes:
    """A tar archive of these; packed with `gz`, `bz2` or `xz`."""
    file = io.BytesIO()
    mode = cast("Literal['w:gz']", f"w:{packing}")
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.removesuffix("/"))
            entry.size, entry.mtime = len(data), int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def image(width: int, height: int, format: str = "PNG", mode: str = "RGB", **options: object) -> bytes:  # noqa: A002
    """One colour, but for the corner at the top left."""
    picture = Image.new(mode, (width, height), "blue")
    picture.paste("red", (0, 0, width // 2, height // 2))
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def every_format() -> dict[str, bytes | str]:
    """A small file of each."""
    return {
        "a.csv": b"id,name\n1,tea\n2,coffee\n",
        "a.tsv": b"id\tname\n1\ttea\n",
        "a.jsonl": json.dumps({"id": 1, "tags": ["a"]}).encode() + b"\n",
        "a.parquet": columns(),
        "a.xlsx": workbook({"Sales": [["id", "name"], [1, "tea"]]}),
        "a.pdf": pdf("One page.", "Another."),
        "a.docx": word(),
        "a.pptx": slides(),
        "a.html": b"<title>T</title><h1>One</h1><p>Text <a href='x'>link</a></p>",
        "a.eml": mail(),
        "a.zip": zipped({"in/a.txt": b"a"}),
        "a.tar": tarred({"in/": b"", "in/a.txt": b"a"}),
        "a.tar.gz": tarred({"in/a.txt": b"a"}, "gz"),
        "a.gz": gzip.compress(b"a"),
        "a.png": image(20, 10),
        "a.jpg": image(20, 10, "JPEG"),
        "a.gif": image(20, 10, "GIF"),
        "a.webp": image(20, 10, "WEBP"),
    }


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
