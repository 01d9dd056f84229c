"""The base of all models of files, and the types of single values: texts, durations, sizes, money, moments."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hotswap_airflow import units
from hotswap_airflow.slurm.options import unsafe_characters
from hotswap_airflow.workflow.spec import value_schemas
from hotswap_airflow.workflow.text.colons import looks_like_a_pair, no_blank
from hotswap_airflow.workflow.text.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Callable

_PERCENT = re.compile(r"([0-9]{1,9})%")
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_ALL = 100
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_LONGEST = 100 * 366 * 86_400
"""Seconds of the longest duration: a century."""


class FileModel(BaseModel):
    """Strict, frozen, and without extra keys. Null means the key's default, and removes values of lower layers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if isinstance(data, dict):
            never_null = _keys_without_null(cls)
            return {key: value for key, value in data.items() if value is not None or key not in never_null}
        if isinstance(data, str) and (pair := looks_like_a_pair(data)):
            raise fault(*no_blank(*pair))
        return data


@cache
def _keys_without_null(model: type[BaseModel]) -> frozenset[str]:
    """The keys whose default is not null. Null of any other key is kept: it shows that the key was written."""
    fields = model.model_fields.items()
    return frozenset(field.alias or key for key, field in fields if field.default is not None)


def fault(code: Any, words: str, remedy: str) -> PydanticCustomError:
    """The error of a value, with its own sentence and remedy; ``{key}`` in the sentence becomes its key."""
    return PydanticCustomError(code, "{words}", {"words": words, "remedy": remedy})


def expected(code: Any, words: str) -> PydanticCustomError:
    """The error of a value that should be something else, such as ``a duration such as 2d``."""
    return PydanticCustomError(code, "{words}", {"words": words, "expected": True})


def _word(value: Any) -> Any:
    """A text that stands for one thing on a command line or in a message, so without white space."""
    text = as_written(value)
    if text == "":
        raise expected("wrong-type", "a text")
    if isinstance(text, str) and (found := unsafe_characters(text)):
        raise fault("slurm-value-unsafe", f"`{{key}}` holds {found}: {text!r}", "write one name without white space")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise expected("wrong-type", "a text, a number, true or false")
    return value


def as_written(value: Any) -> Any:
    """Accept a number if a text is needed: ``version: 2`` means the text 2."""
    return str(value) if is_number(value) else value


def duration(value: Any) -> Any:
    """Seconds of a time: a duration such as ``2d``, one of Slurm's forms, or whole minutes."""
    return converted(value, units.parse_time, "duration-invalid", "a duration such as 2d")


def seconds(value: Any) -> Any:
    """Seconds of a duration such as ``15s``."""
    return converted(value, units.parse_duration, "duration-invalid", "a duration such as 15s, 30m, 2h or 1d")


def size(value: Any) -> Any:
    """KiB of a size such as ``8000M``."""
    return converted(value, units.parse_size, "size-invalid", "a size such as 8000M")


def converted(value: Any, parse: Callable[[Any], Any], code: str, words: str) -> Any:
    """The parsed value. Raises ``PydanticCustomError`` with this code if it cannot be parsed."""
    try:
        found = parse(value)
    except (ValueError, TypeError):
        raise expected(code, words) from None
    if code == "duration-invalid" and found > _LONGEST:
        raise fault("out-of-range", f"`{{key}}` is {value}", "use less than a century")
    return found


def _not_zero(least: str) -> Callable[[int], int]:
    """A check that an amount is more than nothing; ``least`` is what its remedy offers."""

    def check(value: int) -> int:
        if value == 0:
            raise fault("out-of-range", "`{key}` is 0", f"use {least} or more")
        return value

    return check


def _money(value: Any) -> Any:
    """An amount without rounding, from the text in the file."""
    if not is_number(value):
        raise expected("wrong-type", "a number")
    return Decimal(str(value))


def share(value: Any) -> Any:
    """A number that is 0 or more, or ``N%`` up to 100 %."""
    if is_number(value):
        if value < 0:
            raise fault("out-of-range", f"`{{key}}` is {value}", "use 0 or more")
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise expected("wrong-type", "a number or `N%`")
    if int(match[1]) > _ALL:
        raise fault("out-of-range", f"`{{key}}` is {value}", "use 100% or less")
    return value


def _moment(value: Any) -> Any:
    """A moment in UTC: of a date its first second; of a time the moment that its offset gives."""
    if not isinstance(value, str):
        raise expected("datetime-invalid", "a date such as 2026-01-31")
    if match := _DAY.fullmatch(value):
        return _day(value, *map(int, match.groups()))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise expected(
            "datetime-invalid", "a date such as 2026-01-31, or a time such as 2026-01-31T06:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise fault("datetime-naive", f"`{value}` is a time without its time zone", f"write `{value}Z` for UTC")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise fault("datetime-invalid", f"`{value}` is out of reach", f"use a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment.astimezone(UTC)


def _day(text: str, year: int, month: int, day: int) -> datetime:
    last = next((d for d in (31, 30, 29, 28) if _exists(year, month, d)), None)
    if last is None or not 0 < day <= last:
        near = f"{text[:8]}{last:02d}" if last is not None and day > 0 else "2026-01-31"
        raise fault("datetime-invalid", f"there is no day {text}", f"write for example `{near}`")
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise fault("datetime-invalid", f"`{text}` is out of reach", f"use a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return datetime(year, month, day, tzinfo=UTC)


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


Text = Annotated[str, BeforeValidator(as_written), WithJsonSchema(value_schemas.TEXT)]
Word = Annotated[str, BeforeValidator(_word), WithJsonSchema(value_schemas.WORD)]
TextWord = Annotated[Text, BeforeValidator(_word), WithJsonSchema(value_schemas.MODULE)]
"""A word that may be written as a number."""
ScalarValue = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema(value_schemas.SCALAR)]
Seconds = Annotated[int, BeforeValidator(seconds), WithJsonSchema(value_schemas.DURATION)]
TimeLimit = Annotated[int, BeforeValidator(duration), WithJsonSchema(value_schemas.TIME_LIMIT)]
Kibibytes = Annotated[int, BeforeValidator(size), WithJsonSchema(value_schemas.SIZE)]
SomeSeconds = Annotated[Seconds, AfterValidator(_not_zero("1s"))]
SomeTimeLimit = Annotated[TimeLimit, AfterValidator(_not_zero("1m"))]
SomeKibibytes = Annotated[Kibibytes, AfterValidator(_not_zero("1"))]
"""Amounts that are more than nothing."""
Money = Annotated[Decimal, BeforeValidator(_money), Field(ge=0), WithJsonSchema(value_schemas.MONEY)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema(value_schemas.MOMENT)]
Share = Annotated[int | float | str, BeforeValidator(share), WithJsonSchema(value_schemas.SHARE)]
Name = Annotated[str, WithJsonSchema(value_schemas.NAME)]
"""A name in the files of workflows; ``checks.names`` refuses others, with a name that would do."""
SiteName = Annotated[str, WithJsonSchema(value_schemas.SITE_NAME)]
Cron = Annotated[str, WithJsonSchema(value_schemas.CRON)]
