"""Durations, times and sizes as people and Slurm write them.

Durations are whole seconds, sizes whole KiB (Slurm's smallest unit), both plain ``int``.
"""

from __future__ import annotations

import re

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_DAYS = re.compile(r"([0-9]+)-([0-9]{1,2})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?")
_CLOCK = re.compile(r"([0-9]+):([0-9]{1,2}):([0-9]{1,2})")
_TWO_PARTS = re.compile(r"[0-9]+:[0-9]{1,2}")
_SIZE = re.compile(r"([0-9]+)(?:([KMGTkmgt])[Bb]?)?")
_KIB = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}
_LARGEST_PART = 59


class AmbiguousTime(ValueError):
    """A time that Slurm would read differently from most people; ``.suggestion`` has only one meaning."""

    def __init__(self, text: str, suggestion: str) -> None:
        self.suggestion = suggestion
        super().__init__(text)


def parse_duration(text: str) -> int:
    """Read ``90s 30m 2h 1h30m 2d 1w`` as seconds.

    >>> parse_duration("1h30m")
    5400

    Raises ``ValueError`` for anything else.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(text)
    return sum(int(count) * _SECONDS[unit] for count, unit in zip(match.groups(), "wdhms", strict=True) if count)


def parse_time(value: str | int) -> int:
    """Read a time limit as seconds: a duration, Slurm's clock forms, or whole minutes.

    >>> parse_time("1-12"), parse_time("02:30:00"), parse_time(10)
    (129600, 9000, 600)

    Raises ``AmbiguousTime`` for ``MM:SS`` and for minutes or seconds over 59, else ``ValueError``.
    """
    if isinstance(value, int):
        return _amount(value) * 60
    if _TWO_PARTS.fullmatch(value):
        hours, minutes = value.split(":")
        raise AmbiguousTime(value, f"{int(hours):02d}:{int(minutes):02d}:00")
    if match := _CLOCK.fullmatch(value):
        return _clock_seconds(value, 0, *(int(part) for part in match.groups()))
    if match := _DAYS.fullmatch(value):
        return _clock_seconds(value, *(int(part or 0) for part in match.groups()))
    return parse_duration(value)


def _amount(value: int) -> int:
    """The number itself. Raises ``ValueError`` for true, false and negative numbers."""
    if isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value


def _clock_seconds(text: str, days: int, hours: int, minutes: int, seconds: int) -> int:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if minutes > _LARGEST_PART or seconds > _LARGEST_PART:
        raise AmbiguousTime(text, format_clock(total))
    return total


def format_clock(seconds: int) -> str:
    """Write seconds as Slurm's ``HH:MM:SS`` or ``D-HH:MM:SS``.

    >>> format_clock(5400), format_clock(90000)
    ('01:30:00', '1-01:00:00')
    """
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{days}-{clock}" if days else clock


def format_duration(seconds: int) -> str:
    """Write seconds as people write durations.

    >>> format_duration(7200), format_duration(5400), format_duration(0)
    ('2h', '1h30m', '0s')
    """
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: str | int) -> int:
    """Read ``4G 4GB 4000M 512K`` or whole MB as KiB; K M G T are powers of 1024.

    >>> parse_size("4G") == parse_size(4096)
    True

    Raises ``ValueError`` for anything else.
    """
    if isinstance(value, int):
        return _amount(value) * _KIB["M"]
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(value)
    return int(match[1]) * _KIB[(match[2] or "M").upper()]


def format_size(kib: int) -> str:
    """Write KiB with the largest unit that leaves a whole number.

    >>> format_size(4 * 1024 ** 2), format_size(8000 * 1024)
    ('4G', '8000M')
    """
    for unit in "TGM":
        if kib and kib % _KIB[unit] == 0:
            return f"{kib // _KIB[unit]}{unit}"
    return f"{kib}K"
