"""The types of plain scalars in YAML 1.2 core."""

from __future__ import annotations

import re
from typing import Any

from hotswap_airflow.workflow.text.numbers import WrittenFloat, WrittenInt

_MAX_DIGITS = 1_000
_WORDS = {"": None, "null": None, "Null": None, "NULL": None, "~": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(text: str) -> Any:
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
