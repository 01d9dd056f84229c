"""sbatch's long options: the values that each may have, and how it is written on a command line."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, assert_never

from hotswap_airflow import units

Kind = Literal["text", "whole", "any-whole", "count", "gpus", "size", "time", "switch", "exclusive"]
Value = str | int | float | bool

OPTIONS: dict[str, Kind] = {
    "partition": "text",
    "account": "text",
    "qos": "text",
    "time": "time",
    "nodes": "count",
    "ntasks": "whole",
    "ntasks-per-node": "whole",
    "cpus-per-task": "whole",
    "cpus-per-gpu": "whole",
    "threads-per-core": "whole",
    "mem": "size",
    "mem-per-cpu": "size",
    "mem-per-gpu": "size",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "gpus-per-task": "gpus",
    "gres": "text",
    "constraint": "text",
    "oversubscribe": "switch",
    "wckey": "text",
    "licenses": "text",
    "exclusive": "exclusive",
    "requeue": "switch",
    "signal": "text",
    "reservation": "text",
    "nice": "any-whole",
    "begin": "text",
    "deadline": "text",
    "tmp": "size",
    "hint": "text",
    "distribution": "text",
    "nodelist": "text",
    "exclude": "text",
    "switches": "text",
}
"""Every option that a workflow may set, with the kind of its value."""

RESERVED: dict[str, str] = {
    "output": "declare files under `outputs:`; the log is in the task's log",
    "error": "the log is in the task's log",
    "job-name": "rename the job itself: JOB",
    "array": "use `sweep:`",
    "dependency": "use `needs:`",
    "comment": "use `description:`",
    "wrap": "use `run:`",
    "parsable": "remove it",
    "chdir": "all jobs start in the run directory; use `cd` in `run:`",
    "export": "use `env:`",
    "wait": "use `needs:`",
    "uid": "jobs run under the cluster's connection",
    "gid": "jobs run under the cluster's connection",
    "mail-type": "use `notify:`",
}
"""Options that a job may not set itself, with what to do instead."""

EXCLUSIVE_GROUPS = (frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),)
"""Groups of options of which a job may have only one; an option of a later layer replaces that of an earlier layer."""

_HAVE_AN_OPPOSITE = frozenset({"requeue"})
_CONTROL = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufeff\s\x00-\x1f\x7f-\x9f\u2028\u2029]")
_COUNT = re.compile(r"[1-9][0-9]*(?:-[1-9][0-9]*)?")
_TYPED = r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*:)?[1-9][0-9]*"
_GPUS = re.compile(rf"{_TYPED}(?:,{_TYPED})*")
_COUNTS = {"count": (_COUNT, "a number"), "gpus": (_GPUS, "a number, TYPE:NUMBER, or a list of these")}


@dataclass(frozen=True)
class Refusal(Exception):
    """Why a value does not fit its option: a code of the error table, a message and a remedy."""

    code: str
    message: str
    remedy: str


def check(name: str, value: Value) -> str | None:
    """Give the text that follows ``--name=``; None if the option is left out.

    An empty text means the option without a value. Raises ``Refusal``.
    """
    kind = OPTIONS[name]
    match kind:
        case "text":
            return _text(name, value)
        case "whole" | "any-whole":
            return _whole(name, value, least=1 if kind == "whole" else None)
        case "count" | "gpus":
            return _count(name, value, *_COUNTS[kind])
        case "size":
            return _size(name, value)
        case "time":
            return _time(name, value)
        case "switch":
            return _switch(name, value)
        case "exclusive":
            return _exclusive(name, value)
        case _:  # pragma: no cover
            assert_never(kind)


def argument(name: str, text: str) -> str:
    """One argument for sbatch.

    >>> argument("time", "00:10:00"), argument("requeue", "no")
    ('--time=00:10:00', '--no-requeue')
    """
    if OPTIONS[name] == "switch":
        return f"--{name}" if text == "yes" else f"--no-{name}"
    return f"--{name}={text}" if text else f"--{name}"


_REMEDIES = {
    "a line break": "write it in one line",
    "a space": "give every option its own key",
    "an invisible character": "write the value anew",
    "a control character": "remove it",
}


def unsafe_characters(value: str) -> str:
    """The kind of character of a text that no option may hold; an empty text if there is none.

    >>> unsafe_characters("a b"), unsafe_characters("a")
    ('a space', '')
    """
    if not (found := _CONTROL.search(value)):
        return ""
    if found[0] in "\n\r\u2028\u2029\x85":
        return "a line break"
    if found[0].isspace():
        return "a space"
    return "an invisible character" if unicodedata.category(found[0]) == "Cf" else "a control character"


def _unsafe(name: str, value: str) -> Refusal | None:
    if not (what := unsafe_characters(value)):
        return None
    remedy = _REMEDIES[what]
    return Refusal("slurm-value-unsafe", f"`{name}` holds {what}: {value!r}", remedy)


def _text(name: str, value: Value) -> str:
    if isinstance(value, bool) or (isinstance(value, str) and not value):
        raise Refusal("wrong-type", f"`{name}` must be a text, not {_show(value)}", f"write `{name}: VALUE`")
    text = str(value)
    if refusal := _unsafe(name, text):
        raise refusal
    return text


def _whole(name: str, value: Value, least: int | None) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refusal("wrong-type", f"`{name}` must be a whole number, not {_show(value)}", f"write `{name}: 1`")
    if least is not None and value < least:
        raise Refusal("out-of-range", f"`{name}` is {value}", f"use {least} or more")
    return str(int(value))


def _count(name: str, value: Value, pattern: re.Pattern[str], what: str) -> str:
    if isinstance(value, str):
        if refusal := _unsafe(name, value):
            raise refusal
        if not pattern.fullmatch(value):
            raise Refusal("wrong-type", f"`{name}` must be {what}, not {value!r}", f"write `{name}: 1`")
        return value
    return _whole(name, value, least=1)


def _size(name: str, value: Value) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise Refusal("out-of-range", f"`{name}` is {value}", "use a size such as 4G")
    if isinstance(value, (bool, float)):
        raise Refusal("size-invalid", f"`{name}` is no size: {_show(value)}", "write for example 4G or 4000M")
    try:
        return units.format_size(units.parse_size(value)) if value not in {0, "0"} else "0"
    except ValueError:
        text = str(value)
        hint = re.sub(r"^\s*([0-9]+)\s*([KMGTkmgt]).*$", lambda m: f"{m[1]}{m[2].upper()}", text, flags=re.DOTALL)
        better = hint if hint != text else "4G"
        raise Refusal(
            "size-invalid", f"`{name}` is no size: {value}", f"write for example `{name}: {better}`"
        ) from None


def _time(name: str, value: Value) -> str:
    if isinstance(value, (bool, float)):
        raise Refusal("duration-invalid", f"`{name}` is no duration: {_show(value)}", "write for example 2h or 30m")
    try:
        seconds = units.parse_time(value) if isinstance(value, str) or value > 0 else 0
    except units.AmbiguousTime as ambiguous:
        raise Refusal("time-ambiguous", *_ambiguous(name, str(value), ambiguous.suggestion)) from None
    except ValueError:
        hint = re.sub(r"^\s*([0-9]+)\s*([wdhms])\w*\s*$", r"\1\2", str(value))
        better = hint if hint != value else "2h"
        raise Refusal(
            "duration-invalid", f"`{name}` is no duration: {value}", f"write for example `{name}: {better}`"
        ) from None
    if seconds <= 0:
        raise Refusal("out-of-range", f"`{name}` is {value}", "use at least 1m")
    return units.format_clock(seconds)


def _ambiguous(name: str, value: str, suggestion: str) -> tuple[str, str]:
    if value.count(":") == 1:
        what = f"`{name}: {value}` may be hours and minutes, but Slurm reads minutes and seconds"
        return what, f'write "{suggestion}", or a duration such as 2h30m'
    return f"`{name}: {value}` has minutes or seconds over 59", f'write "{suggestion}"'


def _switch(name: str, value: Value) -> str | None:
    if not isinstance(value, bool):
        raise Refusal("wrong-type", f"`{name}` must be true or false, not {_show(value)}", f"write `{name}: true`")
    if not value and name not in _HAVE_AN_OPPOSITE:
        return None
    return "yes" if value else "no"


def _exclusive(name: str, value: Value) -> str | None:
    if isinstance(value, bool):
        return "" if value else None
    if value in {"user", "mcs"}:
        return str(value)
    raise Refusal("wrong-choice", f"`{name}` is {_show(value)}", "use true, user or mcs")


def _show(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
