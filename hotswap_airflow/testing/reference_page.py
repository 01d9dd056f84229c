"""``docs/reference.md``: every key of workflow and site files, from their schemas.

python -m hotswap_airflow.testing.reference_page > docs/reference.md
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from hotswap_airflow.slurm.options import RESERVED
from hotswap_airflow.workflow.spec.json_schema import FileKind, schema_of
from hotswap_airflow.workflow.spec.value_schemas import NAMED, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFS = "#/$defs/"
_VALUES = ("Name", "SiteName", "AxisName", "Variable", "Duration", "TimeLimit", "Size", "Moment", "Cron", "Currency")
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "map",
}
_INTRODUCTION = """\
# Every key

This page is made from the models that check the files (`python -m hotswap_airflow.testing.reference_page`). Each key
stands in the map of its heading; `NAME` is a name that you choose. Null stands for the default, and takes away what a
layer below says.

`hotswap schema` prints the same for editors, [which can use it offline](command-line.md#in-your-editor).
"""


def page() -> str:
    """The text of the page."""
    parts = [_INTRODUCTION, "## Values\n", _values(), *_Section("workflow").parts(), *_Section("site").parts()]
    return "\n".join(parts)


def _values() -> str:
    rows = [f"| {_title(name)} | {NAMED[name]['description']} |" for name in _VALUES]
    return "\n".join(["| value | |", "|---|---|", *rows, ""])


def _title(name: str) -> str:
    return re.sub("(?<=[a-z])([A-Z])", r" \1", name).lower()


class _Section:
    """The maps of one kind of file, each below the map that it stands in."""

    def __init__(self, kind: FileKind) -> None:
        self.kind = kind
        self.schema = schema_of(kind)
        self.defs: dict[str, Schema] = self.schema["$defs"]
        self.homes: dict[str, str] = {}
        self.own: list[tuple[str, Schema]] = []
        self.collect("", self.schema)

    def collect(self, path: str, schema: Schema) -> None:
        """Find the map of a path and all maps below it. A map that several keys have gets its place at the first."""
        self.own.append((path, schema))
        for key, value in _properties(schema):
            if key == "templates":
                continue  # the keys of jobs
            for steps, name in _maps(value):
                if name not in NAMED and name not in self.homes and not name.endswith("Overlay"):
                    self.homes[name] = ".".join(filter(None, (path, key, *steps)))
                    self.collect(self.homes[name], self.defs[name])

    def parts(self) -> Iterator[str]:
        """The text of each map, and of Slurm's options in a workflow."""
        yield f"## The {self.kind} file\n"
        for path, schema in self.own:
            if path:
                yield f"### {self.heading(path)}\n\n{schema['description'].replace('``', '`')}\n"
            yield self.table(schema)
        if self.kind == "workflow":
            yield f"### Options of `slurm`\n\n{NAMED['SlurmOptions']['description']}\n"
            yield self.table(self.defs["SlurmOptions"])
            reserved = " ".join(f"`{name}`" for name in RESERVED)
            yield f"Set by hotswap, and refused in a file: {reserved}.\n"

    def heading(self, path: str) -> str:
        return f"`{path}`" if self.kind == "workflow" else f"Site: `{path}`"

    def table(self, schema: Schema) -> str:
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, value in _properties(schema):
            default = "required" if key in schema.get("required", ()) else _default(value)
            rows.append(f"| `{key}` | {self.type(value)} | {default} | {value['description']} |")
        return "\n".join([*rows, ""])

    def type(self, value: Schema) -> str:
        """What a value may be, in words."""
        if "anyOf" in value:
            return " or ".join(filter(None, map(self.type, value["anyOf"])))
        if "$ref" in value:
            return self.reference(value["$ref"].removeprefix(_DEFS))
        if "const" in value or "enum" in value:
            words = [word for word in value.get("enum", [value.get("const")]) if word is not None]
            return ", ".join(f"`{json.dumps(word) if isinstance(word, bool) else word}`" for word in words)
        types = value.get("type", "anything")
        names = [name for name in (types if isinstance(types, list) else [types]) if name != "null"]
        if names == ["string", "number"] and "minimum" not in value:
            names = ["string"]  # a number arrives as the text that was written
        return " or ".join(self.one(name, value) for name in names)

    def one(self, name: str, value: Schema) -> str:
        """One of the types that a value may have, with its range."""
        if name == "array" and value.get("items"):
            return f"list of {self.type(value['items'])}"
        if name == "object" and isinstance(value.get("additionalProperties"), dict):
            keys = value.get("propertyNames", {}).get("$ref", "").removeprefix(_DEFS)
            below = self.type(value["additionalProperties"])
            return f"map of {_title(keys) if keys else 'text'} to {f'({below})' if ' or ' in below else below}"
        words = _WORDS.get(name, name)
        return words + _range(value) if name in {"integer", "number"} else words

    def reference(self, name: str) -> str:
        if name == "Overlay":
            return "map of the keys above"
        if name == "SlurmOptions":
            return "[options](#options-of-slurm)"
        if name == "Reference":
            return "`{from: REFERENCE}`"
        if name in NAMED:
            return f"[{_title(name)}](#values)"
        path = self.homes[name]
        return f"[`{path}`](#{_anchor(self.heading(path))})"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _properties(schema: Schema) -> list[tuple[str, Schema]]:
    return list(schema.get("properties", {}).items())


def _maps(value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """The schemas that a value refers to, each with the steps that lead to it."""
    if "$ref" in value:
        yield (), value["$ref"].removeprefix(_DEFS)
    for part in value.get("anyOf", ()):
        yield from _maps(part)
    for key, steps in (("items", ()), ("additionalProperties", ("NAME",))):
        if isinstance(value.get(key), dict):
            yield from (((*steps, *below), name) for below, name in _maps(value[key]))


def _range(value: Schema) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" ≥ {low}"
    return f" > {value['exclusiveMinimum']}" if "exclusiveMinimum" in value else ""


def _default(value: Schema) -> str:
    if "default" not in value:
        return "—"
    default = value["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


if __name__ == "__main__":
    sys.stdout.write(page())
