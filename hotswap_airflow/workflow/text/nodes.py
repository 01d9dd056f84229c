"""The parts of a file and their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]


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


def child_of(node: Node, step: str | int) -> Node | None:
    """The part of a map or a list; None if it does not have it."""
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


def moved(node: Node, place: Place) -> Node:
    """A copy of a node in which every part has the same place."""
    if isinstance(node.value, dict):
        value: Any = {key: moved(child, place) for key, child in node.value.items()}
        return Node(place, value, size=node.size, key_places=dict.fromkeys(value, place))
    value = [moved(child, place) for child in node.value] if isinstance(node.value, list) else node.value
    return Node(place, value, size=node.size)
