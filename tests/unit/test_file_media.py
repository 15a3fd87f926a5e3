"""What a file is, by its first bytes."""

import io
import wave

import pytest

from isthmus_file_worker.media import Archive, Binary, Document, Image, Kind, Sound, Table, Text, recognize

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
GERMAN = "Größere Übersicht über die Geschäfte des Jahres, für alle Häuser: Köln, Düsseldorf, Zürich. " * 4


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\1" * 100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("sample", "name", "kind"),
    [
        (b"", "empty", Text("utf-8")),
        (b"plain", "a.txt", Text("utf-8")),
        (GERMAN.encode(), "a.txt", Text("utf-8")),
        (b"\xef\xbb\xbfa,b", "a.txt", Text("utf-8-sig")),
        (b"\xef\xbb\xbfa,b", "a.CSV", Table("csv", "text/csv", "utf-8-sig")),
        (GERMAN.encode("utf-16"), "a.tsv", Table("tsv", "text/tab-separated-values", "utf-16")),
        (b"{}\n", "a.ndjson", Table("jsonl", "application/jsonl", "utf-8")),
        (b"PAR1\x15\0", "no-extension", Table("parquet", "application/vnd.apache.parquet")),
        (b"PK\3\4" + b"\0" * 26 + b"xl/workbook.xml", "no-extension", Table("workbook", XLSX)),
        (b"PK\3\4" + b"\0" * 26 + b"xl/workbook.xml", "a.zip", Archive("zip", "application/zip")),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 99, "a.xls", Table("workbook", "application/vnd.ms-excel")),
        (b"  <!DOCTYPE html><p>x", "page", Document("html", "text/html", "utf-8")),
        (b"Subject: x\n\ny", "a.eml", Document("eml", "message/rfc822", "utf-8")),
        (b"\x1f\x8b\x08\0" + b"\xff" * 9, "a.tar.gz", Archive("packed", "application/gzip")),
        (GERMAN.encode("utf-16"), "a.txt", Text("utf-16")),
        (GERMAN.encode("utf-32"), "a.txt", Text("utf-32")),
        (b"GIF89a is how such files begin", "notes.txt", Text("utf-8")),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "no-extension", Image("image/png")),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1" + b"\0" * 99, "a.jpe", Image("image/jpeg")),
        (b"GIF89a\1\0\1\0\0\0\0", "a.gif", Image("image/gif")),
        (b"RIFF\x24\0\0\0WEBPVP8 " + b"\0" * 30, "a.webp", Image("image/webp")),
        (wav(), "a.wav", Sound("audio/wav")),
        (b"ID3\3\0\0\0\0\0\x0f" + b"\0" * 99, "a.mp3", Sound("audio/mpeg")),
        (b"\xff\xf3\x90\x64" + b"\0" * 99, "a.mp3", Sound("audio/mpeg")),
        (b"OggS\0\2" + b"\0" * 22 + b"\x01\x1e\x01vorbis", "a.ogg", Sound("audio/ogg")),
        (b"\x8f\x13\0\xff" * 20, "not-really.png", Binary("binary file")),
        (b"%PDF-1.4\nall ASCII", "a.pdf", Document("pdf", "application/pdf")),
        (b"\x8f\x13\0\xff" * 20, "a.bin", Binary("binary file")),
    ],
)
def test_a_file_is_what_its_first_bytes_say(sample: bytes, name: str, kind: Kind) -> None:
    assert recognize(sample, name, whole=True) == kind


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_another_encoding_is_guessed_so_that_the_text_comes_out_right(encoding: str) -> None:
    kind = recognize(GERMAN.encode(encoding), "a.txt", whole=True)
    assert isinstance(kind, Text)
    assert GERMAN.encode(encoding).decode(kind.encoding) == GERMAN


def test_a_sample_may_end_amid_a_character_but_a_file_may_not() -> None:
    cut = ("x" * 1000 + "ü").encode()[:-1]
    assert recognize(cut, "a.txt", whole=False) == Text("utf-8")
    assert recognize(cut, "a.txt", whole=True) != Text("utf-8")


def test_a_known_binary_is_called_by_its_name() -> None:
    kind = recognize(b"7z\xbc\xaf\x27\x1c\0\4" + b"\0" * 50, "a.7z", whole=True)
    assert isinstance(kind, Binary)
    assert kind.name != "binary file"
