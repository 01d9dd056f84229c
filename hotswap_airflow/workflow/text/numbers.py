"""Numbers that keep their written form. If a text is needed, ``0042`` and ``3.10`` stay as they are in the file."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Self

from hotswap_airflow.slurm.request import as_text

_PADDED = re.compile(r"0[0-9]")


class _Written:
    """A number with its written form. ``str`` gives the written form; arithmetic and JSON use the number."""

    real: Any
    written: str

    def __new__(cls, value: float, written: str) -> Self:
        """Make the number from its value and its text in the file."""
        made = super().__new__(cls, value)  # type: ignore[call-arg] # of int or float, the second base class
        made.written = written
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[Any, str]]:
        """The class and arguments from which ``copy`` and ``pickle`` make a copy."""
        return type(self), (self.real, self.written)

    def __str__(self) -> str:
        """The number as it is written in the file."""
        return self.written


class WrittenInt(_Written, int):
    """A whole number."""


class WrittenFloat(_Written, float):
    """A number with a point or an exponent."""


def is_number(value: object) -> bool:
    """Whether a value is a number. True and false are not numbers."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def written(value: object) -> str:
    """A value as text. Numbers stay as they are written in the file.

    >>> written(WrittenInt(42, "0042")), written(True), written("a")
    ('0042', 'true', 'a')
    """
    return str(value) if is_number(value) else as_text(value)


def together(values: list[Any]) -> list[Any]:
    """The values of a list. If one of them is a text, the numbers become texts too.

    >>> together(["3f9a", WrittenInt(42, "0042")]), together([WrittenFloat(0.5, ".5")])
    (['3f9a', '0042'], [0.5])
    """
    if not any(isinstance(value, str) for value in values):
        return values
    return [written(value) if is_number(value) else value for value in values]


def plain_numbers(value: Any) -> Any:
    """A value with plain ``int`` and ``float`` numbers, for programs that look at the exact type of a number."""
    if isinstance(value, list):
        return [plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, WrittenInt):
        return int(value)
    return float(value) if isinstance(value, WrittenFloat) else value


def reads_back(number: WrittenInt | WrittenFloat) -> bool:
    """Whether a number arrives as it was written. Exponents and missing zeros beside the point make no difference.

    >>> reads_back(WrittenFloat(3.1, "3.10")), reads_back(WrittenFloat(0.5, ".5")), reads_back(WrittenFloat(1e3, "1e3"))
    (False, True, True)
    """
    text = number.written
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if isinstance(number, WrittenFloat) and "e" in digits.lower():
        return Decimal(digits) == Decimal(repr(abs(float(number)))) and not _PADDED.match(digits)
    filled = f"{'0' if digits.startswith('.') else ''}{digits}{'0' if digits.endswith('.') else ''}"
    return as_text(number) == f"{sign}{filled}"
