"""Finds brackets and quotes that are never closed, brackets that close nothing, and commas that are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from hotswap_airflow.workflow.text.unreadable import Found, Unreadable

_CLOSING = {"[": "]", "{": "}", '"': '"', "'": "'"}
_OPENERS = {yaml.FlowSequenceStartToken: "[", yaml.FlowMappingStartToken: "{"}
_CLOSERS = {yaml.FlowSequenceEndToken: "[", yaml.FlowMappingEndToken: "{"}
_NO_COMMA = re.compile(r"(?:expected ',' or '[]}]', but got) '(?!<block|<document|<stream)")
_ITEM = re.compile(r"\"[^\"]*\"?|'[^']*'?|[^\s,\[\]{}:]+|[\[{]")
_BETWEEN = re.compile(r"[\s,\[\]{}]")
_Bracket = tuple[Any, str]


def find_bracket(unreadable: Unreadable) -> Found:
    """Find what is opened and never closed, or a bracket that closes nothing."""
    if "quoted scalar" in unreadable.reading and unreadable.began is not None:
        return _never_closed((unreadable.began, unreadable.text[unreadable.began.index]))
    brackets = _Brackets(unreadable.text)
    brackets.scan()
    stop = unreadable.mark.index if unreadable.mark is not None else len(unreadable.text)
    opened = min(brackets.unclosed, key=lambda bracket: bracket[0].index, default=None)
    if opened is not None and opened[0].index <= stop:
        return _never_closed(opened)
    if brackets.extra is not None and brackets.extra[0].index <= stop:
        mark, closer = brackets.extra
        return mark.line + 1, mark.column + 1, "yaml-syntax", f"`{closer}` closes nothing", "remove it"
    return None


def find_comma(unreadable: Unreadable) -> Found:
    """Find two items in brackets without a comma between them."""
    if unreadable.mark is None or not _NO_COMMA.search(unreadable.said):
        return None
    mark = unreadable.mark
    before, rest = unreadable.split_at(mark)
    found = _ITEM.match(rest)
    item = _BETWEEN.split(before.rstrip())[-1] if rest.startswith(":") else found[0] if found else ""
    if not item:
        return None
    remedy = f"add a comma before `{item}`"
    return mark.line + 1, mark.column + 1, "yaml-syntax", f"there is no comma before `{item}`", remedy


def _never_closed(bracket: _Bracket) -> Found:
    mark, opener = bracket
    words = f"`{opener}` is not closed"
    return mark.line + 1, mark.column + 1, "yaml-unclosed", words, f"add `{_CLOSING[opener]}`"


class _Brackets:
    """The brackets of a text: those that are never closed, and the first one that closes nothing."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.open: list[_Bracket] = []
        self.lost: list[_Bracket] = []
        self.extra: _Bracket | None = None

    @property
    def unclosed(self) -> list[_Bracket]:
        return [*self.lost, *self.open]

    def scan(self) -> None:
        """Read the text, as far as its brackets are sure."""
        try:
            for token in yaml.scan(self.text, Loader=yaml.SafeLoader):
                if type(token) in _OPENERS:
                    self.open.append((token.start_mark, _OPENERS[type(token)]))
                elif type(token) in _CLOSERS and self.closes_last(token.start_mark, _CLOSERS[type(token)]):
                    return
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            mark: Any = getattr(error, "problem_mark", None)
            if mark is not None and self.close_later(mark.index):
                self.open = []

    def closes_last(self, mark: Any, opener: str) -> bool:
        """Take a closing bracket; whether the text after it says nothing more.

        A bracket of the other kind within the closed one is never closed. After either mistake the parser counts
        other levels than the person, so that what comes after the last open bracket is not read.
        """
        kinds = [kind for _, kind in self.open]
        if opener not in kinds:
            if self.close_later(mark.index + 1):
                self.open, self.extra = [], (mark, _CLOSING[opener])
            return True
        at = len(kinds) - 1 - kinds[::-1].index(opener)
        self.lost += self.open[at + 1 :]
        del self.open[at:]
        return bool(self.lost) and not self.open

    def close_later(self, index: int) -> bool:
        """Whether the text from here on closes all that is open."""
        rest = self.text[index:]
        return rest.count("]") + rest.count("}") - rest.count("[") - rest.count("{") >= len(self.open)
