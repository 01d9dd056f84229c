"""JSON Schema of workflow and site files, made from their models, for editors.

A schema sees one value at a time. What needs more, such as keys that exclude each other, names that must exist and
limits of a cluster, only ``hotswap validate`` finds. Where a schema and the models differ, the models are right.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from hotswap_airflow import units
from hotswap_airflow.workflow.spec import vocabulary
from hotswap_airflow.workflow.spec.site_spec import SiteSpec
from hotswap_airflow.workflow.spec.value_schemas import NAMED, Schema
from hotswap_airflow.workflow.spec.workflow_spec import WorkflowSpec

if TYPE_CHECKING:
    from pydantic_core import core_schema

FileKind = Literal["workflow", "site"]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/"
_NULL: Schema = {"type": "null"}
_BESIDE = ("description", "default")
_AT_LEAST_ONE = {
    "BudgetSpec": ("amount", "cpu_hours", "gpu_hours"),
    "PythonSoftware": ("requirements", "lock"),
    "SecretSpec": ("connection", "variable"),
    "SoftwareSpec": ("python", "conda", "setup"),
}
"""Maps that need one of these keys."""


def schema_text(kind: FileKind) -> str:
    """The schema of one kind of file as JSON."""
    return json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"


def schema_of(kind: FileKind) -> Schema:
    """The schema of one kind of file."""
    return _workflow() if kind == "workflow" else _file(SiteSpec, vocabulary.SITE_HEADER, "A site file of hotswap")


def _workflow() -> Schema:
    schema = _file(WorkflowSpec, vocabulary.WORKFLOW_HEADER, "A workflow file of hotswap")
    del schema["$defs"]["ParamSpec"]["required"]  # the type follows from the default
    overlay: Schema = {"$ref": f"{_DEFS}Overlay"}
    schema["properties"]["environments"]["additionalProperties"] = {"anyOf": [overlay, _NULL]}
    schema["$defs"] |= _overlay(schema)
    jobs = {"type": "object", "additionalProperties": {"$ref": f"{_DEFS}JobSpec"}}
    schema["properties"]["jobs"] |= jobs
    schema["required"].append("jobs")
    schema["$defs"] = dict(sorted(schema["$defs"].items()))
    return schema


def _file(model: type[BaseModel], header: str, title: str) -> Schema:
    found = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    defs: dict[str, Schema] = {}
    schema = _hoisted(found, defs)
    schema["$defs"] = dict(sorted((schema.get("$defs", {}) | defs).items()))
    schema["properties"]["hotswap"] |= {"const": header}
    for name in _AT_LEAST_ONE.keys() & schema["$defs"].keys():
        schema["$defs"][name]["anyOf"] = [{"required": [key]} for key in _AT_LEAST_ONE[name]]
    return {"$schema": _DIALECT, "title": title, **schema}


class _Generator(GenerateJsonSchema):
    """Says what the models take from a file: null for every key with a default, and no titles but our own."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        made = super().model_schema(schema)
        made.pop("title", None)
        for key, value in made.get("properties", {}).items():
            if key not in made.get("required", ()):
                made["properties"][key] = _or_null(value)
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> Schema:
        made: Schema = {"type": "object"}
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        values = self.generate_inner(schema["values_schema"]) if "values_schema" in schema else {}
        if keys.keys() - {"type"}:
            made["propertyNames"] = keys
        return made | {"additionalProperties": values or True}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return _or_null(self.generate_inner(schema["schema"]))

    def get_union_of_schemas(self, schemas: list[Schema]) -> Schema:
        return _any_of(schemas)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        made = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if default is None or default == "" or isinstance(default, (BaseModel, dict)):
            return made
        is_duration = made.get("title") == "Duration"
        return made | {"default": units.format_duration(default) if is_duration else default}


def _or_null(schema: Schema) -> Schema:
    """A schema that also takes null. What is said of the key stays beside it."""
    beside = {key: schema[key] for key in _BESIDE if key in schema}
    return _any_of([{key: value for key, value in schema.items() if key not in beside}, _NULL]) | beside


def _any_of(schemas: list[Schema]) -> Schema:
    """A schema that takes what any of these takes, written as short as possible."""
    parts = [part for schema in schemas for part in (schema["anyOf"] if set(schema) == {"anyOf"} else [schema])]
    if {} in parts:
        return {}
    rest = [part for part in parts if set(part) != {"type"}]
    types = list(dict.fromkeys(name for part in parts if set(part) == {"type"} for name in _types(part)))
    if "number" in types:
        types = [name for name in types if name != "integer"]
    alone = {"type": types[0] if len(types) == 1 else types}
    if not rest:
        return alone
    if types == ["null"] and len(rest) == 1 and "type" in rest[0] and "title" not in rest[0]:
        return _with_null(rest[0])
    return {"anyOf": [*rest, alone]} if types else {"anyOf": rest} if len(rest) > 1 else rest[0]


def _types(schema: Schema) -> list[str]:
    found = schema["type"]
    return found if isinstance(found, list) else [found]


def _with_null(schema: Schema) -> Schema:
    made = schema | {"type": list(dict.fromkeys([*_types(schema), "null"]))}
    words = made.pop("enum", [made["const"]] if "const" in made else None)
    made.pop("const", None)
    return made if words is None else made | {"enum": list(dict.fromkeys([*words, None]))}


def _hoisted(schema: Any, defs: dict[str, Schema]) -> Any:
    """A schema in which each named schema is a reference; the named schemas are added to ``defs``."""
    if isinstance(schema, list):
        return [_hoisted(item, defs) for item in schema]
    if not isinstance(schema, dict):
        return schema
    whole = NAMED.get(str(schema.get("title")))
    if whole is None:
        return {key: _hoisted(value, defs) for key, value in schema.items()}
    if whole["title"] not in defs:
        defs[whole["title"]] = {key: _hoisted(value, defs) for key, value in whole.items() if key != "title"}
    own = {key: value for key, value in schema.items() if whole.get(key) != value}
    return {"$ref": _DEFS + whole["title"], **own}


def _overlay(root: Schema) -> dict[str, Schema]:
    """The schema of an environment's overlay, and those below it that differ from the file's own.

    An overlay is merged into the file: no key of it is required, and null removes what the file says.
    """
    made: dict[str, Schema] = {}
    keys = {key: value for key, value in root["properties"].items() if key not in vocabulary.NOT_IN_AN_OVERLAY}
    words = "What is different in one environment; null removes."
    whole = _partial({**root, "description": words, "properties": keys}, root["$defs"], made)
    return made | {
        "Overlay": {key: whole[key] for key in ("description", "type", "properties", "additionalProperties")}
    }


def _partial(schema: Schema, defs: dict[str, Schema], made: dict[str, Schema]) -> Schema:
    """A schema whose maps may lack every key. Lists are not merged, so their items stay whole."""
    if "$ref" in schema:
        return schema | {"$ref": _partial_reference(schema["$ref"], defs, made)}
    found = {key: value for key, value in schema.items() if key not in {"required", "minProperties"}}
    if "properties" in schema:
        found.pop("anyOf", None)
        found["properties"] = {key: _or_null(_partial(v, defs, made)) for key, v in schema["properties"].items()}
    if "anyOf" in found:
        found["anyOf"] = [_partial(part, defs, made) for part in found["anyOf"]]
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _or_null(_partial(schema["additionalProperties"], defs, made))
    return found


def _partial_reference(reference: str, defs: dict[str, Schema], made: dict[str, Schema]) -> str:
    name = reference.removeprefix(_DEFS)
    if name in NAMED:
        return reference
    found = _partial(defs[name], defs, made)
    if found == defs[name]:
        return reference
    made[f"{name}Overlay"] = found
    return f"{reference}Overlay"
