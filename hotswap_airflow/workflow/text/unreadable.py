"""A text that the parser cannot read, as the finders of causes see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Found = tuple[int, int, str, str, str] | None
"""Line, column, code, message and remedy of a cause; None if the finder's cause is not the one."""
_COMMENT = re.compile(r"\s#.*")


@dataclass(frozen=True)
class Unreadable:
    """A text and the parser's error, with its marks and its words."""

    text: str
    error: Any

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.split("\n")

    @property
    def began(self) -> Any:
        """The mark where the part begins that the parser was reading; None if it does not say."""
        return getattr(self.error, "context_mark", None)

    @property
    def mark(self) -> Any:
        """The mark where the parser stopped, or else where the part begins; None if it has neither."""
        return getattr(self.error, "problem_mark", None) or self.began

    @property
    def reading(self) -> str:
        """What the parser was reading, in its words."""
        return getattr(self.error, "context", None) or ""

    @property
    def said(self) -> str:
        """What the parser found wrong, in its words."""
        return getattr(self.error, "problem", None) or ""

    @property
    def row(self) -> int:
        """The line in which the parser stopped, counted from 0."""
        return min(self.mark.line, len(self.lines) - 1) if self.mark is not None else 0

    def split_at(self, mark: Any) -> tuple[str, str]:
        """The text before a mark in its line, and the text from there on."""
        line = self.lines[mark.line]
        return line[: mark.column], line[mark.column :]


def without_comment(text: str) -> str:
    """The rest of a line without the comment at its end."""
    return _COMMENT.sub("", text)


def quoted(text: str) -> str:
    """A text as it stands in single quotes."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def depth(line: str) -> int:
    """How far a line is indented."""
    return len(line) - len(line.lstrip())
