"""The schedule of runs, and the values that their parameters may have."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from hotswap_airflow.workflow.checks.graph import asset_fault
from hotswap_airflow.workflow.spec import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext
    from hotswap_airflow.workflow.spec.param_spec import ParamSpec
    from hotswap_airflow.workflow.text.document import Path

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12 or jan-dec"),
    ("day of the week", "0-7 or sun-sat"),
)
_LONG = 20
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_START = datetime(2024, 1, 1, tzinfo=UTC)
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "date": (str,),
    "datetime": (str,),
    "array": (list,),
    "object": (dict,),
}


def check_timing(context: CheckContext) -> Iterator[Problem]:
    """Find problems in the schedule and the parameters."""
    yield from _schedule(context)
    yield from _assets(context)
    if context.spec.catchup and context.raw("start_date") is None:
        words = "`catchup` runs the missed intervals since `start_date`, which the file lacks"
        yield context.at_key((), "missing-key", words, "add `start_date: 2026-01-31`")
    for name, param in context.spec.params.items():
        yield from _param(context, name, param)


def _schedule(context: CheckContext) -> Iterator[Problem]:
    schedule = context.spec.schedule
    if schedule is None:
        return
    is_text = isinstance(context.raw("schedule"), str)
    if schedule.cron is not None:
        if fault := cron_fault(schedule.cron):
            path: Path = ("schedule",) if is_text else ("schedule", "cron")
            yield context.at_value(path, "cron-invalid", *fault)
        if schedule.assets is not None:
            second = next(key for key in reversed(context.keys_of("schedule")) if key in {"cron", "assets"})
            words = "`cron` and `assets` exclude each other"
            yield context.at_key(("schedule", second), "conflict", words, "keep one of them")
    elif schedule.assets is None:
        yield context.at_key(("schedule",), "missing-key", "schedule lacks `cron`", "add `cron:` or `assets:`")
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        words = f"there is no time zone `{schedule.timezone}`"
        yield context.at_value(("schedule", "timezone"), "cron-invalid", words, "write for example `Europe/Zurich`")


def _assets(context: CheckContext) -> Iterator[Problem]:
    assets = context.spec.schedule.assets if context.spec.schedule is not None else None
    if (
        assets is not None
        and context.raw("schedule", "timezone") is not None
        and context.raw("schedule", "cron") is None
    ):
        words = "`timezone` is for `cron`; assets start a run whenever they are updated"
        yield context.at_key(("schedule", "timezone"), "conflict", words, "remove `timezone`")
    for index, uri in enumerate(assets or ()):
        if context.raw("schedule", "assets", index) is not None and (fault := asset_fault(uri)):
            yield context.at_value(("schedule", "assets", index), "wrong-type", *fault)


def cron_fault(text: str) -> tuple[str, str] | None:
    """The fault of a cron text, and the remedy; None if there is no fault.

    >>> cron_fault("0 25 * * *")
    ('`0 25 * * *` has the hour `25`', 'use 0-23')
    """
    if text in PRESETS:
        return None
    if text.startswith("@"):
        near = vocabulary.nearest(text, PRESETS)
        return f"there is no schedule `{text}`", f"did you mean `{near}`?" if near else f"use {', '.join(PRESETS)}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"`{text}` is no cron schedule: it has {len(fields)} fields, not 5", "write for example `0 6 * * *`"
    for index, (field, (name, allowed)) in enumerate(zip(fields, _FIELDS, strict=True)):
        alone = ["*"] * len(_FIELDS)
        alone[index] = field
        # With croniter's own R and H, each reading could give another time.
        if field[0] in "RrHh" or not croniter.is_valid(" ".join(alone)):
            return f"`{text}` has the {name} `{field}`", f"use {allowed}"
    try:
        croniter(text, _START).get_next()
    except (CroniterError, ValueError):
        return f"`{text}` never comes", "write for example `0 6 * * *`"
    return None


def _param(context: CheckContext, name: str, param: ParamSpec) -> Iterator[Problem]:
    here: Path = ("params", name)
    if param.pattern is not None:
        try:
            re.compile(param.pattern)
        except re.error as error:
            words = f"`{param.pattern}` is no regular expression: {error}"
            yield context.at_value((*here, "pattern"), "wrong-type", words, "correct the pattern")
            return
        if isinstance(param.default, str) and len(param.default) > _LONG and repeats_a_repeat(param.pattern):
            words = f"`{param.pattern}` repeats what is repeated already, which may take for ever with a long text"
            yield context.at_value((*here, "pattern"), "wrong-type", words, "write it without a repeat in a repeat")
            return
    if not param.has_default:
        if context.spec.schedule is not None and _is_whole(context, name):
            words = f"a run by schedule cannot fill in `{name}`"
            yield context.at_key(here, "param-default", words, "give it a `default`")
        return
    if fault := value_fault(param, param.default):
        place = context.spelled_out(here, "default")
        yield context.at_value(
            place, "param-default", f"the default of `{name}` {fault}", "give it a `default` that fits"
        )


def repeats_a_repeat(pattern: str) -> bool:
    """Whether a group that is repeated without end holds such a repeat itself: then a match may take for ever.

    >>> repeats_a_repeat("^(a+)+$"), repeats_a_repeat("^a+(bc)+$")
    (True, False)
    """
    plain = re.sub(r"\\.|\[\^?\]?[^]]*\]", "x", pattern)
    groups: list[bool] = []
    for index, char in enumerate(plain):
        if char == "(":
            groups.append(False)
        elif char == ")" and groups:
            inner = groups.pop()
            if inner and plain[index + 1 : index + 2] in {"*", "+", "{"}:
                return True
            groups = [known or inner for known in groups]
        elif char in "*+{" and groups:
            groups[-1] = True
    return False


def _is_whole(context: CheckContext, name: str) -> bool:
    """Whether the default is absent in the file, and not only removed from the spec because it was wrong."""
    raw = context.raw("params", name)
    return raw is None or (isinstance(raw, dict) and raw.get("default") is None)


def value_fault(param: ParamSpec, value: Any) -> str | None:
    """Why a value does not fit its parameter; None if it fits."""
    if not _is_of(param.type, value):
        return f"is {_shown(value)}, not of type {param.type}"
    if param.enum is not None and value not in param.enum:
        return f"is {_shown(value)}, not one of {', '.join(map(_shown, param.enum))}"
    if isinstance(value, list) and param.items is not None:
        return _items_fault(param.items.type, value)
    if isinstance(value, (int, float)):
        return _range_fault(param, value)
    return _text_fault(param, value) if isinstance(value, str) else None


def _items_fault(kind: str, items: list[Any]) -> str | None:
    wrong = (item for item in items if not _is_of(kind, item))
    return next((f"holds {_shown(item)}, not of type {kind}" for item in wrong), None)


def _is_of(kind: str, value: Any) -> bool:
    kinds = _TYPES[kind]
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def _range_fault(param: ParamSpec, value: float) -> str | None:
    if param.minimum is not None and value < param.minimum:
        return f"is {value}, less than {param.minimum}"
    if param.maximum is not None and value > param.maximum:
        return f"is {value}, more than {param.maximum}"
    return None


def _text_fault(param: ParamSpec, value: str) -> str | None:
    if param.pattern is not None and not re.search(param.pattern, value):
        return f"is {value!r}, which does not match {param.pattern}"
    try:
        if param.type == "date":
            date.fromisoformat(value if _DAY.fullmatch(value) else "")
        elif param.type == "datetime" and datetime.fromisoformat(value).tzinfo is None:
            return f"is {value}, a time without its time zone"
    except ValueError:
        return f"is {value!r}, not a {param.type}"
    return None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
