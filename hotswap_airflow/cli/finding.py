"""The result of one check of `hotswap doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check. ``remedy`` is empty if the check found no problem."""

    part: str
    level: Level
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the finding as one line for a person."""
        return f"{self.level:8} {self.message}" + (f"; {self.remedy}" if self.remedy else "")
