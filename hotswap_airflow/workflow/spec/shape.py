"""Makes a spec from a document. Each error of shape becomes a problem with its own place and a clear message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from hotswap_airflow.workflow.spec import vocabulary
from hotswap_airflow.workflow.text.colons import looks_like_a_pair, no_blank
from hotswap_airflow.workflow.text.document import Node, plain
from hotswap_airflow.workflow.text.scalars import resolve
from hotswap_airflow.workflow.text.unreadable import without_comment

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.spec.vocabulary import Vocabulary
    from hotswap_airflow.workflow.text.document import Document, Path

Model = TypeVar("Model", bound=BaseModel)
_ROUNDS = 8
_ABSENT = object()
_EXPECTED = {
    "int_type": ("a whole number", "1"),
    "int_from_float": ("a whole number", "1"),
    "float_type": ("a number", "1.0"),
    "bool_type": ("true or false", "true"),
    "string_type": ("a text", "TEXT"),
    "list_type": ("a list", "[VALUE]"),
    "dict_type": ("a map", "{KEY: VALUE}"),
    "model_type": ("a map", "{KEY: VALUE}"),
    "model_attributes_type": ("a map", "{KEY: VALUE}"),
}
_RANGES = {"greater_than_equal": ("ge", "or more"), "less_than_equal": ("le", "or less")}


def read_shape(document: Document, model: type[Model], words: Vocabulary) -> tuple[Model | None, list[Problem]]:
    """Validate a document. Returns the model without the wrong parts, and all problems.

    The wrong parts are removed and the rest is validated again, so that the later checks can still find their own
    problems. The model is None if the rest is still wrong after ``_ROUNDS`` rounds.
    """
    data = document.data
    problems = list(document.slips)
    taken: set[Path] = set()
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(data), problems
        except ValidationError as error:
            # What a map lacks may only be misspelt in it, and the place of both may be one.
            details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] == "missing")
            paths = [_known_path(data, detail["loc"]) for detail in details]
            for detail, path in zip(details, paths, strict=True):
                problem = _problem(document, detail, words)
                is_told = any((p.line, p.column) == (problem.line, problem.column) for p in problems)
                # A part that was removed because it was wrong is neither missing nor wrong again.
                is_told |= path in taken or (detail["type"] == "missing" and (*path, detail["loc"][-1]) in taken)
                # A template may lack what the job that extends it has.
                is_told |= detail["type"] == "missing" and path[:1] == ("templates",)
                if not is_told:
                    problems.append(problem)
                # A list item that was emptied before and is wrong again: remove its whole list.
                gone = path[:-1] if path in taken and path and isinstance(path[-1], int) else path
                if path in taken or not _mend(document, data, path, problem):
                    _take_out(data, gone)
                taken.add(gone)
    return None, problems


def _known_path(data: Any, location: Path) -> Path:
    """The part of pydantic's location that exists in the file. Pydantic adds steps for union members and models."""
    path: list[str | int] = []
    for said in location:
        step = said
        if isinstance(data, dict) and isinstance(said, int):
            # Needs may be written as a map; pydantic then counts its keys. Another map stands for a list with one item.
            if path[-1:] != ["needs"]:
                continue
            step = list(data)[said] if said < len(data) else said
        below = data.get(step) if isinstance(data, dict) and step in data else _item(data, step)
        if below is _ABSENT:
            break
        data = below
        path.append(step)
    return tuple(path)


def _item(data: Any, step: str | int) -> Any:
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return _ABSENT


def _below(data: Any, step: str | int) -> Any:
    """The part of a map or a list; None if it does not have it."""
    return _item(data, step) if isinstance(data, list) else data.get(step) if isinstance(data, dict) else None


def _take_out(data: Any, path: Path) -> None:
    if not path:
        return
    for step in path[:-1]:
        data = _below(data, step)
    last = path[-1]
    if isinstance(data, dict) and len(path) == 2 and path[0] == "jobs":  # noqa: PLR2004
        data[last] = {"run": ""}
    elif isinstance(data, dict):
        data.pop(last, None)
    elif isinstance(data, list) and isinstance(last, int):
        data[last] = ""


def _mend(document: Document, data: Any, path: Path, problem: Problem) -> bool:
    """Put the map in the place of a text that is its first pair; whether the problem is that.

    The document is mended, too, so that nothing else is wrong for the checks.
    """
    node = document.exact_node(path)
    if problem.code != "yaml-colon-space" or not path or node is None or (pair := _pair(document, node)) is None:
        return False
    node.value, node.key_places = {pair[0]: Node(node.place, resolve(pair[1]))}, {pair[0]: node.place}
    for step in path[:-1]:
        data = _below(data, step)
    data[path[-1]] = plain(node)
    return True


def _pair(document: Document, node: Node) -> tuple[str, str] | None:
    """Key and value of a plain text that begins as a pair without a space after the colon; None of another node."""
    if node.style not in {None, ""} or not isinstance(node.value, str):
        return None
    line = document.text.split("\n")[node.place.line - 1][node.place.column - 1 :]
    return looks_like_a_pair(without_comment(line).rstrip()) or looks_like_a_pair(node.value)


def _problem(document: Document, detail: ErrorDetails, words: Vocabulary) -> Problem:
    kind = detail["type"]
    path = _known_path(document.data, detail["loc"])
    if kind == "extra_forbidden":
        return _unknown_key(document, path, words)
    if kind == "missing":
        key = str(detail["loc"][-1])
        example = words.example(path, key)
        remedy = f"add `{key}: {example}`" if example else f"add `{key}:`"
        is_null = path[-1:] == (key,) and document.raw(*path) is None
        owner = _owner(document, path[:-1] if is_null else path)
        return document.problem(document.key_place(path), "missing-key", f"{owner} lacks `{key}`", remedy)
    is_map = kind == "yaml-colon-space" or _EXPECTED.get(kind, ("",))[0] == "a map"
    pair = _pair(document, document.node(path)) if is_map else None
    judged = no_blank(*pair) if pair else _value_problem(document, detail, path)
    return document.problem(document.value_place(path), *judged)


def _unknown_key(document: Document, path: Path, words: Vocabulary) -> Problem:
    place = document.key_place(path)
    if pair := looks_like_a_pair(str(path[-1])):
        return document.problem(place, *no_blank(*pair))
    code, message, remedy = words.judge(path[:-1], str(path[-1]))
    return document.problem(place, code, f"{message} in {_owner(document, path[:-1])}", remedy)


def _owner(document: Document, path: Path) -> str:
    """How a message names the map at a path: an item of a list by its own name, if it has one."""
    name = document.raw(*path, "name")
    if path and isinstance(path[-1], int) and isinstance(name, str):
        return f"`{name}` of {'.'.join(map(str, path[:-1]))}"
    return ".".join(map(str, path)) or "the file"


def _value_problem(document: Document, detail: ErrorDetails, path: Path) -> tuple[str, str, str]:
    kind = detail["type"]
    name = next((step for step in reversed(path) if isinstance(step, str)), "the file")
    context = detail.get("ctx", {})
    value = shown(document.node(path).value)
    if kind in _EXPECTED:
        expected, example = _EXPECTED[kind]
        found = document.node(path).value
        if kind == "string_type" and isinstance(found, dict) and len(found) == 1:
            text = ": ".join(f"{part}" for item in plain(document.node(path)).items() for part in item)
            return "wrong-type", f"`{name}` is a map, but must be a text", f"quote it, since it holds a colon: '{text}'"
        return "wrong-type", f"`{name}` is {value}, but must be {expected}", f"write `{name}: {example}`"
    if kind == "literal_error":
        allowed = str(context.get("expected", "")).replace("'", "")
        near = vocabulary.nearest(value, allowed.replace(" or ", ", ").split(", "))
        remedy = f"did you mean `{near}`?" if near else f"use one of: {allowed}"
        return "wrong-choice", f"`{name}` cannot be {value}", remedy
    if kind in _RANGES:
        bound, how = _RANGES[kind]
        return "out-of-range", f"`{name}` is {value}", f"use {context[bound]} {how}"
    if "words" in context and not context.get("expected"):
        return kind, context["words"].replace("{key}", name), context["remedy"]
    expected = context.get("words") or "of another type"
    code = kind if context.get("expected") else "wrong-type"
    return code, f"`{name}` is {value}, but must be {expected}", f"write `{name}:` with {expected}"


def shown(value: Any) -> str:
    """How a message names a value: maps and lists by their kind, others as they are written."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    return str(value).lower() if isinstance(value, bool) else str(value)
