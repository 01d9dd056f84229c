"""After which failures a job is submitted again, how often, and with how much more memory or time."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow import units
from hotswap_airflow.slurm.causes import CAUSES, KINDS, NOT_THE_USERS, Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SAVED = "SAVED"
"""The state in the recorded end of a try whose script saved its state and wants to go on: no failure."""
WAVE = "WAVE"
"""The state in the recorded end of a part of a sweep, after which the rest is submitted."""
GOES_ON = frozenset({SAVED, WAVE})
SAVED_STATUS = 85
_GROWS_AFTER = {cause.grows: cause.error.__name__ for cause in CAUSES if cause.grows}
_SIZES = ("mem", "mem-per-cpu", "mem-per-gpu")


@dataclass(frozen=True)
class Growth:
    """By what factor an option grows after each failure caused by too little of it, and its maximum: KiB or seconds."""

    factor: float
    maximum: int


@dataclass(frozen=True)
class Retry:
    """After which failures a job is submitted again, how many times, and which options grow then."""

    on: frozenset[Kind] = NOT_THE_USERS
    max_retries: int = 2
    mem: Growth | None = None
    time: Growth | None = None

    def covers(self, error: str, failed_before: int) -> bool:
        """Whether a job is submitted again after an error, named by its class, and ``failed_before`` earlier failures.

        >>> Retry().covers("JobNodeFailed", 1), Retry().covers("JobNodeFailed", 2), Retry().covers("JobFailed", 0)
        (True, False, False)
        """
        return kind_of(error) in self.on and failed_before < self.max_retries

    def escalated(
        self, options: Sequence[tuple[str, str]], failures: Sequence[Sequence[str]]
    ) -> tuple[tuple[str, str], ...]:
        """The options of the next try. ``failures`` has, for each failed try, the names of its error classes.

        >>> Retry(mem=Growth(2, 6 << 20)).escalated([("mem", "4G")], [("JobFailed", "JobOutOfMemory")])
        (('mem', '6G'),)
        """
        return tuple((name, self._grown(name, text, failures)) for name, text in options)

    def idle(self, options: Sequence[tuple[str, str]], failures: Sequence[Sequence[str]]) -> list[str]:
        """What should grow after failures caused by too little of it, but is not among the options.

        >>> Retry(mem=Growth(2, 6 << 20)).idle([("time", "00:05:00")], [("JobOutOfMemory",)])
        ['mem']
        """
        names = {"mem" if name in _SIZES else name for name, _ in options}
        growths = {"mem": self.mem, "time": self.time}
        wanting = {what for what, cause in _GROWS_AFTER.items() if any(cause in errors for errors in failures)}
        return [what for what, growth in growths.items() if growth is not None and what in wanting - names]

    def _grown(self, name: str, text: str, failures: Sequence[Sequence[str]]) -> str:
        growth = self.mem if name in _SIZES else self.time if name == "time" else None
        if growth is None or text == "0":
            return text
        cause = _GROWS_AFTER["time" if name == "time" else "mem"]
        times = sum(cause in errors for errors in failures)
        now = units.parse_time(text) if name == "time" else units.parse_size(text)
        grown = max(now, min(growth.maximum, int(now * growth.factor**times)))
        return units.format_clock(grown) if name == "time" else units.format_size(grown)

    def to_json(self) -> str:
        """Write the rule as one line."""
        growths = [[g.factor, g.maximum] if g is not None else None for g in (self.mem, self.time)]
        return json.dumps([sorted(self.on), self.max_retries, *growths])

    @classmethod
    def from_json(cls, text: str) -> Retry:
        """Read what ``to_json`` wrote."""
        on, max_retries, mem, time = json.loads(text)
        return cls(frozenset(on), max_retries, Growth(*mem) if mem else None, Growth(*time) if time else None)


WHEN_ASKED = Retry(KINDS, sys.maxsize)
"""The caller counts the tries: after any failure the job is submitted again for every attempt that requests it."""
