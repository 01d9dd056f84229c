"""Reads YAML 1.2 core. Every node has its line and column, and every error names its likely cause."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.text import diagnosis
from hotswap_airflow.workflow.text.numbers import WrittenFloat, WrittenInt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Path = tuple[str | int, ...]
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES = 5_000_000
MAX_DEPTH = 100
MAX_ALIAS_NODES = 10_000
_MAX_DIGITS = 1_000
_OLD_BREAKS = "\x85\u2028\u2029"
_WORDS = {"": None, "null": None, "Null": None, "NULL": None, "~": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True, order=True)
class Place:
    """A line and a column. Both count from 1; columns count characters."""

    line: int
    column: int


@dataclass
class Node:
    """A scalar, a list or a map of a file. Only maps have ``key_places``."""

    place: Place
    value: Any
    style: str | None = None
    size: int = 1
    key_places: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """One readable file: its data, and the place of each part."""

    file: str
    root: Node
    text: str = ""

    @property
    def data(self) -> Any:
        """The content as plain lists, maps and scalars. Each call makes a new copy."""
        return plain(self.root)

    def node(self, path: Path) -> Node:
        """The node of a path, or the nearest node above it if the file does not have the path."""
        node = self.root
        for step in path:
            below = _child(node, step)
            if below is None:
                break
            node = below
        return node

    def exact_node(self, path: Path) -> Node | None:
        """The node of a path; None if the file does not have the path."""
        node: Node | None = self.root
        for step in path:
            node = _child(node, step) if node is not None else None
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
            if _child(node, step) is not None:
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


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node.value, dict) and isinstance(step, str):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        found: Node = node.value[step]
        return found
    return None


def plain(node: Node) -> Any:
    """The node's content without its places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def read_document(raw: bytes, file: str) -> Document:
    """Read the bytes of a YAML or JSON file. Raises ``SpecError``."""
    text = _decode(raw, file)
    readable, back = _without_old_breaks(_as_yaml(text) if file.endswith(".json") else text)
    try:
        root = _compose(readable, file, back)
    except yaml.YAMLError as error:
        found = diagnosis.explain(readable, error, file)
        message, remedy = found.message.translate(back), found.remedy.translate(back)
        raise SpecError([replace(found, message=message, remedy=remedy)]) from None
    if root is None or root.value is None:
        empty = "the file is empty"
        raise SpecError([Problem(file, 1, 1, "empty-file", empty, "begin with `hotswap: workflow/v1`")])
    return Document(file, root, text)


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


def _compose(text: str, file: str, back: dict[int, str]) -> Node | None:
    events = iter(yaml.parse(text, Loader=_Loader))
    composer = _Composer(file, back)
    root = None
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                place = _place(event.start_mark)
                words = f"a second document begins in line {place.line}"
                raise SpecError(
                    [Problem(file, place.line, place.column, "multiple-documents", words, "give it its own file")]
                )
        elif isinstance(event, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)):
            continue
        else:
            root = composer.node(event, events, 0)
    if composer.problems:
        raise SpecError(composer.problems)
    return root


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Composer:
    """Builds nodes from the parser's events, and collects a problem for everything that is not allowed."""

    def __init__(self, file: str, back: dict[int, str]) -> None:
        self.file = file
        self.back = back
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.alias_nodes = 0

    def complain(self, place: Place, code: str, message: str, remedy: str) -> None:
        self.problems.append(Problem(self.file, place.line, place.column, code, message, remedy))

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        place = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, place)
        if depth > MAX_DEPTH:
            words = f"more than {MAX_DEPTH} levels"
            raise SpecError([Problem(self.file, place.line, place.column, "yaml-syntax", words, "nest less")])
        if event.tag is not None:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.complain(place, "yaml-tag", f"the tag `{shown}` is not allowed", "remove it")
        node = Node(place, None)
        if isinstance(event, yaml.ScalarEvent):
            node.style = event.style
            plain_style = event.style in {None, ""} and event.tag is None
            text = event.value.translate(self.back)
            node.value = self.scalar(text, place) if plain_style else text
        elif isinstance(event, yaml.SequenceStartEvent):
            self.sequence(node, events, depth)
        else:
            self.mapping(node, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, text: str, place: Place) -> Any:
        """A plain scalar with its type. A number that is not finite is a problem, and stays a text."""
        value = _resolve(text)
        if isinstance(value, float) and not math.isfinite(value):
            self.complain(
                place, "wrong-type", f"`{text}` is read as a number that is not finite", f'quote it: "{text}"'
            )
            return text
        return value

    def alias(self, event: Any, place: Place) -> Node:
        target = self.anchors.get(event.anchor)
        if target is None:
            words = f"`*{event.anchor}` names no anchor before it"
            self.complain(place, "yaml-syntax", words, f"write `&{event.anchor}` at the value it means")
            return Node(place, None)
        self.alias_nodes += target.size
        if self.alias_nodes > MAX_ALIAS_NODES:
            words = f"with `*{event.anchor}` the aliases add more than {MAX_ALIAS_NODES} nodes"
            problem = (place.line, place.column, "yaml-alias-limit", words, "use a template and `extends`")
            raise SpecError([Problem(self.file, *problem)])
        return target

    def sequence(self, node: Node, events: Iterator[Any], depth: int) -> None:
        node.value = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            child = self.node(event, events, depth + 1)
            node.value.append(child)
            node.size += child.size

    def mapping(self, node: Node, events: Iterator[Any], depth: int) -> None:
        node.value = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = _place(event.start_mark)
            key = self.key(event, events, place, depth)
            child = self.node(next(events), events, depth + 1)
            node.size += child.size
            if key is None:
                continue
            if key in node.key_places:
                words = f"`{key}` stands here twice, first in line {node.key_places[key].line}"
                self.complain(place, "duplicate-key", words, "remove one, or rename it")
                continue
            node.key_places[key] = place
            node.value[key] = child

    def key(self, event: Any, events: Iterator[Any], place: Place, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None:
                self.complain(place, "yaml-tag", f"the tag `{event.tag}` is not allowed", "remove it")
            return str(event.value.translate(self.back))
        self.node(event, events, depth + 1)
        self.complain(place, "wrong-type", "a key must be a text", "write `key: value`")
        return None


def _resolve(text: str) -> Any:
    """Give a plain scalar its YAML 1.2 core type."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INTEGER.fullmatch(text):
        return WrittenInt(int(text), text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return WrittenInt(int(text, 0), text)
    if _FLOAT.fullmatch(text):
        return WrittenFloat(float(text), text)
    if match := _SPECIAL.fullmatch(text):
        return float(f"{match[1] or ''}inf") if match[2] else float("nan")
    return text
