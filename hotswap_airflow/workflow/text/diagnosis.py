"""Finds the likely cause of a YAML error. The parser itself only reports the text that it cannot read."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import yaml

from hotswap_airflow.errors import Problem

_NO_BLANK = re.compile(r"(?P<lead>\s*(?:- +)*)(?P<key>[A-Za-z_][\w.-]*):(?P<value>[^ \t/:].*)")
_PLAIN_VALUE = re.compile(r"\s*(?:- +)*(?P<key>[^\s:#'\"\[\]{},&*!|>%@`][^:]*):\s+(?P<value>[^\s\[{\"'|>&*!].*)")
_FLOW_VALUE = re.compile(r"(?P<key>[\w.-]+):\s+(?P<value>[^\s,\[\]{}][^,\[\]{}]*)$")
_AFTER_QUOTE = re.compile(
    r"\s*(?:- +)*(?P<key>[\w.-]+):\s+(?P<quoted>\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')(?P<rest>\s*(?P<first>[^\s#]).*)"
)
_TEXT_KEY = re.compile(r"\s*(?:- +)*(?P<key>[\w.-]+):(?:\s+[^\s\[{\"'|>&*!#].*)?\s*")
_PAIR = re.compile(r"\s*(?:#|- |[\w.-]+:(?:\s|$))")
_COMMENT = re.compile(r"\s#.*")
_CLOSING = {"[": "]", "{": "}", '"': '"', "'": "'"}
_OPENERS = {yaml.FlowSequenceStartToken: "[", yaml.FlowMappingStartToken: "{"}
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cf", "Cc"})
_CLOSERS = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


def with_invisible_named(problem: Problem) -> Problem:
    """Make invisible characters in the message of a problem visible, and add their names."""
    found = dict.fromkeys(char for char in problem.message if _is_invisible(char))
    if not found:
        return problem
    names = ", ".join(f"U+{ord(char):04X} ({unicodedata.name(char, 'a control character')})" for char in found)
    seen = {ord(char): f"<U+{ord(char):04X}>" for char in found}
    words = f"{problem.message.translate(seen)}, with the invisible {names}"
    return replace(problem, message=words, remedy=problem.remedy.translate(seen))


def _is_invisible(char: str) -> bool:
    return char not in " \n\t" and unicodedata.category(char) in _INVISIBLE


def explain(text: str, error: yaml.YAMLError, file: str) -> Problem:
    """Turn the parser's error into one problem that names the likely cause."""
    if "maximum nesting depth" in str(error):  # the pure Python parser would take minutes to report the same
        place: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        return Problem(file, place.line + 1, place.column + 1, "yaml-syntax", "too many levels", "nest less")
    lines = text.split("\n")
    problem = _python_error(text) or error
    mark: Any = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    row = min(mark.line, len(lines) - 1) if mark is not None else 0
    found = (
        _unprintable(problem, text)
        or _tab(lines, row)
        or _escape(mark, problem)
        or _first_character(lines, mark, problem)
        or _unclosed(text, problem)
        or _after_quote(lines, mark)
        or _no_blank(lines, row)
        or _forgotten_bar(lines, mark, problem)
        or _colon(lines, mark, problem)
        or _indent(lines, row, problem)
    )
    if found is None:
        column = mark.column + 1 if mark is not None else 1
        words = getattr(problem, "problem", None) or str(problem)
        found = (row + 1, column, "yaml-syntax", f"this cannot be read: {words}", "correct the line")
    return Problem(file, *found)


def _python_error(text: str) -> yaml.YAMLError | None:
    """The error of the pure Python parser. Its messages do not depend on the version of the C library."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as error:
        return error
    return None


def _unprintable(error: Any, text: str) -> tuple[int, int, str, str, str] | None:
    if not isinstance(error, yaml.reader.ReaderError):
        return None
    before = text[: error.position].split("\n")
    words = f"the character #x{ord(text[error.position]):02x} is not allowed"
    return len(before), len(before[-1]) + 1, "yaml-syntax", words, "remove it"


def _tab(lines: list[str], row: int) -> tuple[int, int, str, str, str] | None:
    for number in (row, row - 1):
        if number < 0:
            continue
        blank = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        if "\t" in blank:
            words = f"a tab in the indentation of line {number + 1}"
            return number + 1, blank.index("\t") + 1, "yaml-tab", words, "use spaces"
    return None


def _escape(mark: Any, error: Any) -> tuple[int, int, str, str, str] | None:
    found = re.search(r"unknown escape character '(.)'", f"{getattr(error, 'problem', '')}")
    if found is None or mark is None:
        return None
    words = f"`\\{found[1]}` is nothing that double quotes know"
    return mark.line + 1, mark.column, "yaml-syntax", words, "use single quotes, in which a backslash is one"


def _first_character(lines: list[str], mark: Any, error: Any) -> tuple[int, int, str, str, str] | None:
    """Find a plain value that begins with a character which YAML reserves, for example ``@daily``."""
    found = re.search(r"found character ['\"](.)['\"] that cannot start any token", f"{getattr(error, 'problem', '')}")
    if found is None or mark is None:
        return None
    before, rest = lines[mark.line][: mark.column], _COMMENT.sub("", lines[mark.line][mark.column :])
    value = re.split("[],}]", rest)[0] if re.search(r"[\[{]", before) else rest
    words = f"a value cannot begin with `{found[1]}`"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, f"quote it: `{_quoted(value.strip())}`"


def _unclosed(text: str, error: Any) -> tuple[int, int, str, str, str] | None:
    context = getattr(error, "context", None) or ""
    mark = getattr(error, "context_mark", None)
    if "quoted scalar" in context and mark is not None:
        return _never_closed(mark, text[mark.index])
    opened = _open_bracket(text)
    return _never_closed(*opened) if opened else None


def _after_quote(lines: list[str], mark: Any) -> tuple[int, int, str, str, str] | None:
    """Find text after the closing quote. A shell would join it to the value, but YAML does not."""
    match = _AFTER_QUOTE.match(lines[mark.line]) if mark is not None else None
    if match is None or match.end("quoted") > mark.column:
        return None
    words = f"text after the closing quote of `{match['key']}`"
    value = f"{match['quoted']}{_COMMENT.sub('', match['rest'])}".rstrip()
    remedy = f"quote the whole value, or use `|`: `{match['key']}: {_quoted(value)}`"
    return mark.line + 1, match.start("first") + 1, "yaml-syntax", words, remedy


def _never_closed(mark: Any, opener: str) -> tuple[int, int, str, str, str]:
    words = f"`{opener}` is not closed"
    return mark.line + 1, mark.column + 1, "yaml-unclosed", words, f"add `{_CLOSING[opener]}`"


def _open_bracket(text: str) -> tuple[Any, str] | None:
    """The outermost bracket that is still open at the end of the text."""
    stack: list[tuple[Any, str]] = []
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if type(token) in _OPENERS:
                stack.append((token.start_mark, _OPENERS[type(token)]))
            elif isinstance(token, _CLOSERS) and stack:
                stack.pop()
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        if not stack or (mark is not None and _closes_later(text, mark.index, len(stack))):
            return None
    return stack[0] if stack else None


def _closes_later(text: str, index: int, depth: int) -> bool:
    rest = text[index:]
    return rest.count("]") + rest.count("}") - rest.count("[") - rest.count("{") >= depth


def _no_blank(lines: list[str], row: int) -> tuple[int, int, str, str, str] | None:
    for number in range(row, max(row - 3, -1), -1):
        if match := _NO_BLANK.fullmatch(lines[number].rstrip()):
            found = f"{match['key']}:{match['value']}"
            words = f"`{found}` has no space after the colon"
            remedy = f"write `{match['key']}: {match['value']}`"
            return number + 1, len(match["lead"]) + 1, "yaml-colon-space", words, remedy
    return None


def _colon(lines: list[str], mark: Any, error: Any) -> tuple[int, int, str, str, str] | None:
    """Find a colon in a plain value, which YAML reads as the colon of a second key."""
    said = f"{getattr(error, 'problem', '')}"
    if mark is None or not ("mapping values" in said or "but got ':'" in said):
        return None
    before, rest = lines[mark.line][: mark.column], lines[mark.line][mark.column :]
    if match := _PLAIN_VALUE.fullmatch(before):
        value = _COMMENT.sub("", f"{match['value']}{rest}").strip()
    elif match := _FLOW_VALUE.search(before):
        value = f"{match['value']}{re.split('[],}]', rest)[0]}".strip()
    else:
        return None
    words = f"the value of `{match['key']}` holds a colon, which begins a map"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, _quote_it(match["key"], value)


def _quote_it(key: str, value: str) -> str:
    if key in {"gres", "gpus"}:
        return f"write it without a space: `{key}: {value.replace(': ', ':')}`"
    if value.count('"') % 2:  # the value continues in the next line
        return "quote the whole value, or use `|` and write it below its key"
    return f"quote the value, or use `|`: `{key}: {_quoted(value)}`"


def _forgotten_bar(lines: list[str], mark: Any, error: Any) -> tuple[int, int, str, str, str] | None:
    """Find a text of several lines below its key, in which a colon begins a map: the ``|`` is missing."""
    if mark is None or "mapping values" not in f"{getattr(error, 'problem', '')}":
        return None
    depth = _depth(lines[mark.line])
    above = next((n for n in range(mark.line - 1, -1, -1) if lines[n].strip() and _depth(lines[n]) < depth), None)
    if above is None or (key := _TEXT_KEY.fullmatch(lines[above])) is None:
        return None
    if all(_PAIR.match(line) for line in lines[above + 1 : mark.line + 1] if line.strip()):
        return None
    words = f"the text of `{key['key']}` holds a colon, which begins a map"
    remedy = f"begin it with `|`: `{key['key']}: |`, and all of the text in the lines below"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, remedy


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def looks_like_a_pair(text: str) -> tuple[str, str] | None:
    """Key and value of a text that is a pair except for the missing space after the colon; None if it is not."""
    match = _NO_BLANK.fullmatch(text)
    return (match["key"], match["value"]) if match and not match["lead"] else None


def _indent(lines: list[str], row: int, error: Any) -> tuple[int, int, str, str, str] | None:
    said = f"{getattr(error, 'context', '')} {getattr(error, 'problem', '')}"
    if not ("block mapping" in said or "block end" in said or "mapping values" in said):
        return None
    line = lines[row]
    here = _depth(line)
    above = next((text for text in reversed(lines[:row]) if text.strip() and not text.lstrip().startswith("#")), "")
    there = _depth(above)
    if here == there or not line.strip():
        return None
    word = re.split(r"[:\s]", line.strip(), maxsplit=1)[0]
    words = f"the indent of {here} before `{word}` fits no level"
    return row + 1, here + 1, "yaml-indent", words, f"use {there} spaces as in the line before"
