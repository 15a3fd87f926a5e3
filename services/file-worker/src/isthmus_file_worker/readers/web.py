"""HTML: what a person would read of it."""

import io
import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from isthmus_file_worker.readers.messages import Facts, Job, Pages
from isthmus_file_worker.readers.pages import paged, window
from isthmus_file_worker.readers.refusing import too_large

LARGEST = 16 * 1024 * 1024
"""Bytes of a page: its tree takes about twenty times as much."""

_SILENT = {"script", "style", "noscript", "template", "head", "svg", "iframe", "object", "select", "textarea"}
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre",
    "section", "summary", "table", "tbody", "tfoot", "thead", "tr", "ul", *_HEADINGS,
}  # fmt: skip
_CELLS = ("td", "th")
_SPACE = re.compile(r"[^\S\t]+")


def read(file: io.BufferedReader, job: Job) -> Pages:
    """The text, in pages of about equal length."""
    return window(paged(_of_file(file, job)), job)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many pages `read` makes of it."""
    return Facts(pages=sum(1 for _ in paged(_of_file(file, job))))


def _of_file(file: io.BufferedReader, job: Job) -> Iterator[str]:
    if job.size > LARGEST:
        raise too_large(
            f'{job.path} has {job.size} bytes, and {LARGEST} can be read as a page; encoding "utf-8" reads its source.'
        )
    data = file.read()
    if job.encoding.startswith("utf"):
        return paragraphs(data.decode(job.encoding, "replace"))
    return paragraphs(data)  # it says itself what it is written in


def paragraphs(source: str | bytes) -> Iterator[str]:
    """Headings, paragraphs, items and rows of tables, without what is not shown."""
    tree = LexborHTMLParser(source, encoding=isinstance(source, bytes))
    title = tree.css_first("title")
    if title is not None and (text := _plain(title.text())):
        yield f"Title: {text}"
    if tree.root is None:
        return
    words: list[str] = []
    for part in _parts(tree.root):
        if part is not None:
            words.append(part)
        elif text := _plain("".join(words)):
            yield text
            words = []
        else:
            words = []
    if text := _plain("".join(words)):
        yield text


def _parts(root: LexborNode) -> Iterator[str | None]:
    """Texts in their order; None where a line ends. Without recursion: trees may be very deep."""
    node: LexborNode | None = root
    while node is not None:
        inner = None
        if node.is_text_node:
            yield node.text_content or ""
        elif node.is_element_node or node.is_document_node:
            tag = node.tag or ""
            if tag not in _SILENT:
                inner = node.first_child
                yield from _begun(tag)
        if inner is not None:
            node = inner
            continue
        while node is not None:
            yield from _ended(node)
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def _begun(tag: str) -> Iterator[str | None]:
    if tag in _BLOCKS:
        yield None
    if tag in _HEADINGS:
        yield _HEADINGS[tag]
    elif tag == "li":
        yield "- "


def _ended(node: LexborNode) -> Iterator[str | None]:
    tag = node.tag or ""
    if tag in _CELLS and node.next is not None:
        yield "\t"
    elif tag in _BLOCKS:
        yield None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip()
