"""Reads YAML 1.2 core. Every node has its line and column, and every error names its likely cause."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.text import diagnosis
from hotswap_airflow.workflow.text.composer import compose
from hotswap_airflow.workflow.text.nodes import Node, Path, Place, child_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Document", "Node", "Path", "Place", "each_place_once", "plain", "read_document"]

MAX_BYTES = 1_000_000
_OLD_BREAKS = "\x85\u2028\u2029"
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Document:
    """One readable file: its data, and the place of each part.

    ``slips`` are mistakes that its YAML allows. The data is that of the file without them.
    """

    file: str
    root: Node
    text: str = ""
    slips: tuple[Problem, ...] = ()

    @property
    def data(self) -> Any:
        """The content as plain lists, maps and scalars. Each call makes a new copy."""
        return plain(self.root)

    def node(self, path: Path) -> Node:
        """The node of a path, or the nearest node above it if the file does not have the path."""
        node = self.root
        for step in path:
            below = child_of(node, step)
            if below is None:
                break
            node = below
        return node

    def exact_node(self, path: Path) -> Node | None:
        """The node of a path; None if the file does not have the path."""
        node: Node | None = self.root
        for step in path:
            node = child_of(node, step) if node is not None else None
        return node

    def value_place(self, path: Path) -> Place:
        """The place where the value of a path begins. If the file lacks it, the value of the nearest node above."""
        return self.node(path).place

    def key_place(self, path: Path) -> Place:
        """The place of the key of a path. For an item of a list, the place of the item.

        If the file does not have the path, the nearest key or item above it is used; at the top this is 1:1.
        """
        for end in range(len(path), 0, -1):
            node = self.node(path[: end - 1])
            step = path[end - 1]
            if isinstance(step, str) and step in node.key_places:
                return node.key_places[step]
            if child_of(node, step) is not None:
                return self.value_place(path[:end])
        return Place(1, 1)

    def raw(self, *path: str | int) -> Any:
        """The plain value at a path, as written in the file; None if there is none."""
        node = self.exact_node(path)
        return plain(node) if node is not None else None

    def keys_of(self, *path: str | int) -> list[str]:
        """The keys of the map at a path, in file order; empty if there is no map."""
        node = self.exact_node(path)
        return list(node.value) if node is not None and isinstance(node.value, dict) else []

    def at_key(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Make a problem at the key of a path."""
        return self.problem(self.key_place(path), code, message, remedy)

    def at_value(self, path: Path, code: str, message: str, remedy: str) -> Problem:
        """Make a problem at the value of a path."""
        return self.problem(self.value_place(path), code, message, remedy)

    def problem(self, place: Place, code: str, message: str, remedy: str) -> Problem:
        """Make a problem at a place of this file."""
        return Problem(self.file, place.line, place.column, code, message, remedy)


def each_place_once(problems: Iterable[Problem]) -> dict[tuple[int, int], Problem]:
    """The first problem found at each line and column, so that one wrong value is reported only once."""
    kept: dict[tuple[int, int], Problem] = {}
    for problem in problems:
        kept.setdefault((problem.line, problem.column), problem)
    return kept


def read_document(raw: bytes, file: str) -> Document:
    """Read the bytes of a YAML or JSON file. Raises ``SpecError``."""
    text = _decode(raw, file)
    readable, back = _without_old_breaks(_as_yaml(text) if file.endswith(".json") else text)
    try:
        root, slips = compose(readable, file, back)
    except yaml.YAMLError as error:
        found = diagnosis.explain(readable, error, file)
        message, remedy = found.message.translate(back), found.remedy.translate(back)
        raise SpecError([replace(found, message=message, remedy=remedy)]) from None
    if root is None or root.value is None:
        empty = "the file is empty"
        raise SpecError([Problem(file, 1, 1, "empty-file", empty, "begin with `hotswap: workflow/v1`")])
    return Document(file, root, text, slips)


def _as_yaml(text: str) -> str:
    """The text of a JSON file as YAML reads it: blanks for tabs, and one escape for each pair of surrogates."""
    return _SURROGATES.sub(_joined, text.replace("\t", " "))


def _joined(pair: re.Match[str]) -> str:
    code = 0x10000 + ((int(pair[1], 16) - 0xD800) << 10) + int(pair[2], 16) - 0xDC00
    return f"\\U{code:08X}"


def _without_old_breaks(text: str) -> tuple[str, dict[int, str]]:
    """Replace the characters that break lines in YAML 1.1 but not in 1.2. Also returns the map that restores them.

    The parser follows YAML 1.1. So private characters that the text does not use replace them during parsing.
    """
    breaks = [char for char in _OLD_BREAKS if char in text]
    spare = (chr(code) for code in range(0xE000, 0xF900) if not breaks or chr(code) not in text)
    stand_ins = {char: next(spare) for char in breaks}
    away = {ord(char): other for char, other in stand_ins.items()}
    return text.translate(away), {ord(other): char for char, other in stand_ins.items()}


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        words = f"the file has more than {MAX_BYTES // 1_000_000} MB"
        raise SpecError([Problem(file, 1, 1, "out-of-range", words, "keep data in files of their own")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig").split("\n")
        words = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        place = (len(before), len(before[-1]) + 1)
        raise SpecError([Problem(file, *place, "not-utf8", words, "save the file as UTF-8")]) from None
