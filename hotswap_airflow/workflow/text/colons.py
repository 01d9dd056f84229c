"""Finds colons that are left out, that lack the space after them, or that begin a map where a text is meant."""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import TYPE_CHECKING

from hotswap_airflow.workflow.text.unreadable import depth, quoted, without_comment

if TYPE_CHECKING:
    from hotswap_airflow.workflow.text.unreadable import Found, Unreadable

_NO_BLANK = re.compile(r"(?P<lead>\s*(?:- +)*)(?P<key>[A-Za-z_][\w.-]*):(?P<value>[^ \t/:].*)")
_PLAIN_VALUE = re.compile(r"\s*(?:- +)*(?P<key>[^\s:#'\"\[\]{},&*!|>%@`][^:]*):\s+(?P<value>[^\s\[{\"'|>&*!].*)")
_FLOW_VALUE = re.compile(r"(?P<key>[\w.-]+):\s+(?P<value>[^\s,\[\]{}][^,\[\]{}]*)$")
_TWO_ITEMS = re.compile(r"(?P<first>[^\"']*[^\"'\s])\s+(?P<next>[A-Za-z_][\w-]*)")
_TEXT_KEY = re.compile(r"\s*(?:- +)*(?P<key>[\w.-]+):(?:\s+[^\s\[{\"'|>&*!#].*)?\s*")
_FAR = 1_000
"""How many characters before a colon are searched for the key of its value."""
_TEXT_KEYS = {"run", "description", "activate"}
_PAIR = re.compile(r"\s*(?:#|- |[\w.-]+:(?:\s|$))")
_KEY = re.compile(r"\s*[\w.-]+:(?P<value>.*)")
_WORD = re.compile(r"\s*(?P<word>[A-Za-z_][\w.-]*)")
_WORDS = re.compile(r"\s*(?P<word>[A-Za-z_][\w.-]*)(?P<rest>[ \t]+[^\s:#][^:]*)?")


def looks_like_a_pair(text: str) -> tuple[str, str] | None:
    """Key and value of a text that is a pair except for the missing space after the colon; None if it is not.

    >>> looks_like_a_pair("mem:1G"), looks_like_a_pair("docker://x")
    (('mem', '1G'), None)
    """
    match = _NO_BLANK.fullmatch(text)
    return (match["key"], match["value"]) if match and not match["lead"] else None


def no_blank(key: str, value: str) -> tuple[str, str, str]:
    """Code, message and remedy for a pair without a space after its colon."""
    return "yaml-colon-space", f"`{key}:{value}` has no space after the colon", f"write `{key}: {value}`"


def find_no_blank(unreadable: Unreadable) -> Found:
    """Find a colon without a space after it, in the line or in the two lines above; the first of several lines."""
    rows = range(unreadable.row, max(unreadable.row - 3, -1), -1)
    matches = ((row, _NO_BLANK.fullmatch(unreadable.lines[row].rstrip())) for row in rows)
    found = None
    for row, match in dropwhile(lambda each: each[1] is None, matches):
        if match is None:
            break
        found = (row + 1, len(match["lead"]) + 1, *no_blank(match["key"], without_comment(match["value"])))
    return found


def find_no_blank_in_brackets(unreadable: Unreadable) -> Found:
    """Find a colon directly before a bracket, within brackets: ``{over:[1, 2]}``."""
    if "found unexpected ':'" not in unreadable.said or unreadable.began is None:
        return None
    began, mark = unreadable.began, unreadable.mark
    key = unreadable.text[began.index : mark.index]
    value = _bracketed(unreadable.split_at(mark)[1][1:])
    return began.line + 1, began.column + 1, *no_blank(key, value)


def _bracketed(text: str) -> str:
    """The part of a text from its first bracket to the one that closes it, or up to the next comma."""
    level = 0
    for index, char in enumerate(text):
        level += (char in "[{") - (char in "]}")
        if level <= 0:
            end = index + 1 if char in "]}" and index else index
            return text[:end] or "VALUE"
    return text.strip()


def find_forgotten(unreadable: Unreadable) -> Found:
    """Find a key without its colon: the word alone above its map, or a word and its value."""
    if "could not find expected ':'" in unreadable.said and unreadable.began is not None:
        row = unreadable.began.line
    elif unreadable.mark is not None and (above := _above_a_key(unreadable.lines, unreadable.mark.line)) is not None:
        row = above
    else:
        return None
    match = _WORDS.fullmatch(without_comment(unreadable.lines[row]).rstrip())
    if match is None:
        return None
    word, value = match["word"], (match["rest"] or "").strip()
    remedy = f"write `{word}: {value}`" if value else f"write `{word}:`"
    if " " in value:
        remedy += ", or indent the line if it belongs to the value above"
    return row + 1, match.start("word") + 1, "yaml-syntax", f"`{word}` has no colon after it", remedy


def _above_a_key(lines: list[str], row: int) -> int | None:
    """The line above a key, if it holds a word that must be the key of the map that begins below it."""
    key = _KEY.fullmatch(lines[row])
    above = next((n for n in range(row - 1, -1, -1) if without_comment(f" {lines[n]}").strip()), None)
    if key is None or above is None:
        return None
    before, deeper = without_comment(lines[above]).rstrip(), depth(lines[row]) - depth(lines[above])
    if deeper == 0 and depth(before) == 0:
        return above
    is_alone = _WORD.fullmatch(before) is not None
    return above if is_alone and (deeper > 0 or (deeper == 0 and not key["value"].strip())) else None


def find_colon(unreadable: Unreadable) -> Found:
    """Find a colon in a plain value, which YAML reads as the colon of a second key."""
    mark = unreadable.mark
    if mark is None or not ("mapping values" in unreadable.said or "but got ':'" in unreadable.said):
        return None
    before, rest = unreadable.split_at(mark)
    if match := _PLAIN_VALUE.fullmatch(before):
        remedy = _quote_it(match["key"], without_comment(f"{match['value']}{rest}").strip())
    elif match := _FLOW_VALUE.search(before[-_FAR:]):
        remedy = _in_brackets(match["key"], match["value"], re.split("[],}]", rest)[0].rstrip())
    else:
        return None
    words = f"the value of `{match['key']}` holds a colon, which begins a map"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, remedy


def _in_brackets(key: str, value: str, rest: str) -> str:
    """The remedy for a colon in a plain value in brackets: a comma may be missing before its last word."""
    remedy = _quote_it(key, f"{value}{rest}".strip())
    items = _TWO_ITEMS.fullmatch(value)
    if items is None or key in _TEXT_KEYS:
        return remedy
    return f"add a comma before `{items['next']}`: `{key}: {items['first']}, {items['next']}{rest}`, or {remedy}"


def _quote_it(key: str, value: str) -> str:
    if key in {"gres", "gpus"}:
        return f"write it without a space: `{key}: {value.replace(': ', ':')}`"
    if value.count('"') % 2:  # the value continues in the next line
        return "quote the whole value, or use `|` and write it below its key"
    return f"quote the value, or use `|`: `{key}: {quoted(value)}`"


def find_forgotten_bar(unreadable: Unreadable) -> Found:
    """Find a text of several lines below its key, in which a colon begins a map: the ``|`` is missing."""
    mark, lines = unreadable.mark, unreadable.lines
    if mark is None or "mapping values" not in unreadable.said:
        return None
    here = depth(lines[mark.line])
    above = next((n for n in range(mark.line - 1, -1, -1) if lines[n].strip() and depth(lines[n]) < here), None)
    if above is None or (key := _TEXT_KEY.fullmatch(lines[above])) is None:
        return None
    if all(_PAIR.match(line) for line in lines[above + 1 : mark.line + 1] if line.strip()):
        return None
    words = f"the text of `{key['key']}` holds a colon, which begins a map"
    remedy = f"begin it with `|`: `{key['key']}: |`, and all of the text in the lines below"
    return mark.line + 1, mark.column + 1, "yaml-syntax", words, remedy
