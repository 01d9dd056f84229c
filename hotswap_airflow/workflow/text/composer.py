"""Makes the nodes of a file from the events of the parser, and judges what YAML allows but these files do not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.text.colons import looks_like_a_pair, no_blank
from hotswap_airflow.workflow.text.nodes import Node, Place, moved
from hotswap_airflow.workflow.text.scalars import resolve
from hotswap_airflow.workflow.text.unreadable import without_comment

if TYPE_CHECKING:
    from collections.abc import Iterator

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = {None, ""}
MAX_DEPTH = 100
MAX_ALIAS_NODES = 10_000


def compose(text: str, file: str, back: dict[int, str]) -> tuple[Node | None, tuple[Problem, ...]]:
    """The root node of a text, and its slips. Raises ``yaml.YAMLError`` and ``SpecError``.

    ``back`` maps the characters that stand for others in the text to those that are meant.
    """
    events = iter(yaml.parse(text, Loader=_Loader))
    composer = _Composer(text, file, back)
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
    return root, tuple(composer.slips)


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Composer:
    """Builds nodes from the parser's events, and collects a problem for everything that is not allowed.

    ``slips`` are problems of another kind: their place holds what was probably meant, so that the file can be checked.
    """

    def __init__(self, text: str, file: str, back: dict[int, str]) -> None:
        self.lines = text.split("\n")
        self.file = file
        self.back = back
        self.problems: list[Problem] = []
        self.slips: list[Problem] = []
        self.anchors: dict[str, Node] = {}
        self.alias_nodes = 0
        self.is_merging = False

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
            plain_style = event.style in _PLAIN and event.tag is None
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
        value = resolve(text)
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
        merged: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = _place(event.start_mark)
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.tag is None:
                merged = self.merged(place, events, depth) | merged
                node.key_places["<<"] = place
                continue
            key = self.key(event, events, place, depth)
            child = self.node(next(events), events, depth + 1)
            node.size += child.size
            if key is None:
                continue
            if child.value is None or child.style in _PLAIN:
                key, child = self.mended(event, key, child)
            if key in node.key_places:
                words = f"`{key}` stands here twice, first in line {node.key_places[key].line}"
                self.complain(place, "duplicate-key", words, "remove one, or rename it")
                continue
            node.key_places[key] = place
            node.value[key] = child
        for key, child in merged.items():
            if key not in node.value:
                node.key_places[key], node.value[key] = child.place, child
                node.size += child.size

    def merged(self, place: Place, events: Iterator[Any], depth: int) -> dict[str, Node]:
        """What a merge key would bring into its map, all at the place of the key: it is no key, and the only mistake.

        Without it the map would lack keys, and whatever refers to them would be wrong, too.
        """
        words, remedy = "`<<` is not a key: merge keys do not work", "use `templates` and `extends`"
        self.slips.append(Problem(self.file, place.line, place.column, "unknown-key", words, remedy))
        told, slips, is_inside = len(self.problems), len(self.slips), self.is_merging
        self.is_merging = True
        found = self.node(next(events), events, depth + 1)
        self.is_merging = is_inside
        del self.problems[told:], self.slips[slips:]
        if is_inside:  # to copy the same parts again for each level could take minutes
            return {}
        maps = found.value if isinstance(found.value, list) else [found]
        below = [moved(source, place).value for source in maps if isinstance(source.value, dict)]
        return {key: child for source in reversed(below) for key, child in source.items()}

    def mended(self, event: Any, key: str, child: Node) -> tuple[str, Node]:
        """Key and value of a pair that YAML reads as one key, since it has no space after its colon.

        It is such a key if nothing follows it, as in ``{mem:1G, time: 2h}``; outside of brackets also if its own value
        begins with one, as in ``fit:{run: echo}``.
        """
        pair = looks_like_a_pair(key) if event.style in _PLAIN and event.tag is None else None
        if pair is None:
            return key, child
        place = _place(event.start_mark)
        if child.value is not None:
            if pair[1][0] not in "[{":
                return key, child
            line = self.lines[event.start_mark.line][event.start_mark.column :].translate(self.back)
            pair = looks_like_a_pair(without_comment(line).rstrip()) or pair
        self.slips.append(Problem(self.file, place.line, place.column, *no_blank(*pair)))
        return pair[0], moved(self.read(pair[1]), place)

    def read(self, text: str) -> Node:
        """The node of a value without its mistakes; an empty one if it cannot be read."""
        empty = Node(Place(1, 1), None)
        if text[0] not in "[{\"'":
            return replace(empty, value=resolve(text))
        try:
            return compose(text, self.file, {})[0] or empty
        except (yaml.YAMLError, SpecError):
            return empty

    def key(self, event: Any, events: Iterator[Any], place: Place, depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None:
                self.complain(place, "yaml-tag", f"the tag `{event.tag}` is not allowed", "remove it")
            return str(event.value.translate(self.back))
        self.node(event, events, depth + 1)
        self.complain(place, "wrong-type", "a key must be a text", "write `key: value`")
        return None
