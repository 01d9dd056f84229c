"""What `hotswap doctor` finds: one thing, whether it is well, and the remedy where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``remedy`` is empty where all is well."""

    part: str
    level: Level
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Give one line for a person."""
        return f"{self.level:8} {self.message}" + (f"; {self.remedy}" if self.remedy else "")
