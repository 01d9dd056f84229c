"""A problem as a terminal shows it: below its own line the line of the file, with a mark under the place."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from hotswap_airflow.errors import Problem

RED, DIM, PLAIN = "\033[31m", "\033[2m", "\033[0m"
_BREAK = re.compile(r"\r\n?|\n")
_BEFORE, _AFTER = 70, 50
"""How many characters of a long line are shown before the place, and after it."""
_UNSEEN = {"Cc", "Cf", "Zl", "Zp"}
"""Categories of characters that a terminal would obey, or not show."""
_SECRETS = vocabulary.SECRET_NAMES.pattern
_SECRET_KEY = re.compile(rf"(?:{_SECRETS})[\w-]*[\"']?\s*:", re.IGNORECASE)
_ABOVE_SECRETS = re.compile(rf"\bsecrets[\"']?\s*:|\b[A-Z_]*(?:{_SECRETS})[A-Z_]*[\"']?\s*:")


def shown_problem(problem: Problem, text: str, *, colour: bool) -> str:
    r"""A problem with the line of its file and a mark under its column. ``text`` is what the file holds.

    A line that may hold a secret is not shown, and neither is one that the file does not have.

    >>> from hotswap_airflow.errors import Problem
    >>> print(shown_problem(Problem("f", 2, 4, "wrong-type", "oh", "do"), "a: 1\nb: x\n", colour=False))
    f:2:4: wrong-type: oh; do
        2 | b: x
          |    ^
    """
    head = str(problem)
    if colour and not problem.is_note:
        head = head.replace(f" {problem.code}: ", f" {RED}{problem.code}{PLAIN}: ", 1)
    lines = _BREAK.split(text)
    if not 1 <= problem.line <= len(lines) or problem.code == "secret-plaintext" or _is_near_secrets(lines, problem):
        return head
    line, before = _around(lines[problem.line - 1], problem.column)
    margin, below = f"{problem.line:5} |", f"{'':5} |"
    if colour:
        margin, below = f"{DIM}{margin}{PLAIN}", f"{DIM}{below}{PLAIN}"
    return f"{head}\n{margin} {line}\n{below} {_blank(before)}^"


def wants_colour() -> bool:
    """Whether the output is a terminal, and the person did not ask for one without colour."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def read_text(path: str) -> str:
    """The text of a file, whatever bytes it holds; empty if it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def _is_near_secrets(lines: list[str], problem: Problem) -> bool:
    """Whether a line, or a key above that holds it, has a name as secrets have it."""
    line = lines[problem.line - 1]
    if _SECRET_KEY.search(line):
        return True
    depth = _depth(line)
    for above in reversed(lines[: problem.line - 1]):
        if depth == 0:
            break
        if above.strip() and _depth(above) < depth:
            depth = _depth(above)
            if _ABOVE_SECRETS.search(above):
                return True
    return False


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _around(line: str, column: int) -> tuple[str, str]:
    """A line as it is shown, cut if it is long, and the part of it that is before the column."""
    shown = "".join("\ufffd" if _is_unseen(char) else char for char in line)
    at = column - 1
    start = max(0, at - _BEFORE) if len(line) > _BEFORE + _AFTER else 0
    end = max(at + _AFTER, start + _BEFORE + _AFTER)
    begin = "…" if start else ""
    return begin + shown[start:end] + ("…" if end < len(shown) else ""), begin + shown[start:at]


def _is_unseen(char: str) -> bool:
    return char != "\t" and unicodedata.category(char) in _UNSEEN


def _blank(text: str) -> str:
    """Blanks that are as wide as a text: a tab stays one, and a wide character is two."""
    return "".join("\t" if char == "\t" else " " * _width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
