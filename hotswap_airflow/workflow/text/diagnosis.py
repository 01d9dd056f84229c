"""Finds the likely cause of a YAML error. The parser itself only reports the text that it cannot read."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import yaml

from hotswap_airflow.errors import Problem
from hotswap_airflow.workflow.text.brackets import find_bracket, find_comma
from hotswap_airflow.workflow.text.colons import (
    find_colon,
    find_forgotten,
    find_forgotten_bar,
    find_no_blank,
    find_no_blank_in_brackets,
)
from hotswap_airflow.workflow.text.unreadable import Found, Unreadable, depth, quoted, without_comment

_AFTER_QUOTE = re.compile(
    r"\s*(?:- +)*(?P<key>[\w.-]+):\s+(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')(?P<rest>\s*(?P<first>[^\s#]).*)"
)
_DIGITS = {"x": 2, "u": 4, "U": 8}
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cf", "Cc"})
_NAMED = re.compile(r"<U\+([0-9A-F]{4,5}|10[0-9A-F]{4})>")


def with_invisible_named(problem: Problem) -> Problem:
    """Make invisible characters in a problem visible, and add the names of those in its message."""
    chars = {ord(char): f"<U+{ord(char):04X}>" for char in problem.message + problem.remedy if _is_invisible(char)}
    message, remedy = problem.message.translate(chars), problem.remedy.translate(chars)
    found = dict.fromkeys(_NAMED.findall(message))
    if found and "with the invisible U+" not in message:
        names = (f"U+{code} ({unicodedata.name(chr(int(code, 16)), 'a control character')})" for code in found)
        message = f"{message}, with the invisible {', '.join(names)}"
    return replace(problem, message=message, remedy=remedy)


def _is_invisible(char: str) -> bool:
    return char != " " and unicodedata.category(char) in _INVISIBLE


def explain(text: str, error: yaml.YAMLError, file: str) -> Problem:
    """Turn the parser's error into one problem that names the likely cause."""
    if "maximum nesting depth" in str(error):  # the pure Python parser would take minutes to report the same
        place: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        return Problem(file, place.line + 1, place.column + 1, "yaml-syntax", "too many levels", "nest less")
    unreadable = Unreadable(text, _plain_error(text, error))
    for find in _FINDERS:
        if found := find(unreadable):
            return Problem(file, *found)
    column = unreadable.mark.column + 1 if unreadable.mark is not None else 1
    words = f"this cannot be read: {unreadable.said or unreadable.error}"
    return Problem(file, unreadable.row + 1, column, "yaml-syntax", words, "correct the line")


def _plain_error(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    """The error of the pure Python parser, if it has one: its messages do not depend on the version of the C library.

    The pure one reads a colon directly before a bracket.
    """
    if "found unexpected ':'" in str(error):
        return error
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as plain:
        return plain
    except (ValueError, OverflowError):  # an escape of a character beyond the last one
        return error
    return error


def _unprintable(unreadable: Unreadable) -> Found:
    if not isinstance(unreadable.error, yaml.reader.ReaderError):
        return None
    text, position = unreadable.text, unreadable.error.position
    before = text[:position].split("\n")
    words = f"the character #x{ord(text[position]):02x} is not allowed"
    return len(before), len(before[-1]) + 1, "yaml-syntax", words, "remove it"


def _tab(unreadable: Unreadable) -> Found:
    for number in (unreadable.row, unreadable.row - 1):
        if number < 0:
            continue
        line = unreadable.lines[number]
        blank = line[: depth(line)]
        if "\t" in blank:
            words = f"a tab in the indentation of line {number + 1}"
            return number + 1, blank.index("\t") + 1, "yaml-tab", words, "use spaces"
    return None


def _escape(unreadable: Unreadable) -> Found:
    """Find a backslash in double quotes that is not meant as the beginning of an escape."""
    mark, began = unreadable.mark, unreadable.began
    if mark is None or began is None or "quoted scalar" not in unreadable.reading:
        return None
    remedy = "use single quotes, in which a backslash is one, or double it"
    if found := re.search(r"unknown escape character '(.)'", unreadable.said):
        words = f"`\\{found[1]}` is nothing that double quotes know"
        return mark.line + 1, mark.column, "yaml-syntax", words, remedy
    if not re.search("escape|hexa?decimal", unreadable.said):
        return None
    at = unreadable.text.rfind("\\", began.index, mark.index + 1)
    letter = unreadable.text[at + 1]
    count = _DIGITS.get(letter, 0)
    words = f"`\\{letter}` in double quotes begins a character's code: {count} digits from 0 to F that stand for one"
    return began.line + 1, began.column + 1, "yaml-syntax", words, remedy


def _reserved(unreadable: Unreadable) -> Found:
    """Find a plain value that begins with a character which YAML reserves, for example ``@daily`` or ``*.py``."""
    mark = _reserved_start(unreadable)
    if mark is None:
        return None
    before, rest = unreadable.split_at(mark)
    value = without_comment(rest)
    if re.search(r"[\[{]", before):
        value = re.split("[],}]", value)[0]
    words = f"a value cannot begin with `{rest[0]}`"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, f"quote it: `{quoted(value.strip())}`"


def _reserved_start(unreadable: Unreadable) -> Any:
    if re.search(r"found character ['\"].['\"] that cannot start any token", unreadable.said):
        return unreadable.mark
    return unreadable.began if re.search("scanning an (alias|anchor)", unreadable.reading) else None


def _after_quote(unreadable: Unreadable) -> Found:
    """Find text after the closing quote. A shell would join it to the value, but YAML does not."""
    mark = unreadable.mark
    match = _AFTER_QUOTE.match(unreadable.lines[mark.line]) if mark is not None else None
    if match is None or match.end("quoted") > mark.column:
        return None
    words = f"text after the closing quote of `{match['key']}`"
    value = f"{match['quoted']}{without_comment(match['rest'])}".rstrip()
    remedy = f"quote the whole value, or use `|`: `{match['key']}: {quoted(value)}`"
    return mark.line + 1, match.start("first") + 1, "yaml-syntax", words, remedy


def _indent(unreadable: Unreadable) -> Found:
    said = f"{unreadable.reading} {unreadable.said}"
    if not ("block mapping" in said or "block end" in said or "mapping values" in said):
        return None
    row, lines = unreadable.row, unreadable.lines
    here = depth(lines[row])
    above = next((text for text in reversed(lines[:row]) if text.strip() and not text.lstrip().startswith("#")), "")
    there = depth(above)
    if here == there or not lines[row].strip():
        return None
    word = re.split(r"[:\s]", lines[row].strip(), maxsplit=1)[0]
    words = f"the indent of {here} before `{word}` fits no level"
    return row + 1, here + 1, "yaml-indent", words, f"use {there} spaces as in the line before"


_FINDERS = (
    _unprintable,
    _tab,
    _escape,
    _reserved,
    find_bracket,
    _after_quote,
    find_no_blank_in_brackets,
    find_no_blank,
    find_forgotten,
    find_forgotten_bar,
    find_colon,
    find_comma,
    _indent,
)
"""The first that finds its cause explains the error."""
