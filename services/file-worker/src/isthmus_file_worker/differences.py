"""What a change of a text changes, line by line, as patches show it."""

import difflib

MOST_LINES = 2000
"""Changed lines, with those between them, that are compared: the time for it grows with their square."""
LONGEST = 500
"""Characters of a line."""
MOST = 16 * 1024
"""Characters of a diff."""
AROUND = 3


def difference(before: str, after: str, path: str) -> str:
    """A unified diff; empty for equal texts. Of a change that is too large for one it says how large it is."""
    old, new = before.splitlines(), after.splitlines()
    first = _common(old, new)
    last = min(_common(old[::-1], new[::-1]), len(old) - first, len(new) - first)
    start = max(first - AROUND, 0)
    left, right = old[start : len(old) - last + AROUND], new[start : len(new) - last + AROUND]
    if max(len(left), len(right)) > MOST_LINES:
        return f"@@ {len(left):,} lines from line {start + 1} on are {len(right):,} other ones @@"
    lines = difflib.unified_diff(left, right, path, path, lineterm="", n=AROUND)
    text = "\n".join(_placed(line, start) if line.startswith("@@") else line[:LONGEST] for line in lines)
    return text if len(text) <= MOST else f"{text[:MOST]}\n(the diff is cut here)"


def _common(left: list[str], right: list[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _placed(header: str, lines: int) -> str:
    """The header of a hunk, as if those lines stood before it."""
    _, old, new, _ = header.split(" ")
    return f"@@ {_moved(old, lines)} {_moved(new, lines)} @@"


def _moved(place: str, lines: int) -> str:
    number, comma, count = place[1:].partition(",")
    return f"{place[0]}{int(number) + lines}{comma}{count}"
