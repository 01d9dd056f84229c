"""Triggers that do nothing: one to compare with, and one that says how late the triggerer's event loop is."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BEAT = 0.02
FOR_EVER = 1e8


class SleepTrigger(BaseTrigger):
    """Wait; for ever where no number of seconds is given. ``resumes``: a worker ends the task."""

    def __init__(self, seconds: float | None = None, resumes: bool = False) -> None:  # noqa: FBT001, FBT002 - a row
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = seconds
        self.resumes = resumes

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Two values."""
        return "benchmarks.probe.SleepTrigger", {"seconds": self.seconds, "resumes": self.resumes}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then end."""
        await asyncio.sleep(FOR_EVER if self.seconds is None else self.seconds)
        yield TriggerEvent({}) if self.resumes else TaskSuccessEvent()  # type: ignore[no-untyped-call]


class LagTrigger(BaseTrigger):
    """Write down, once a second, by how many seconds its wake-ups of that second came too late."""

    def __init__(self, path: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where to write."""
        return "benchmarks.probe.LagTrigger", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Measure for ever."""
        with Path(self.path).open("a", encoding="utf-8") as out:  # noqa: ASYNC230 - a line a second
            while True:
                lags = []
                until = time.monotonic() + 1
                while (now := time.monotonic()) < until:
                    await asyncio.sleep(BEAT)
                    lags.append(round(time.monotonic() - now - BEAT, 4))
                out.write(f"{json.dumps([time.time(), lags])}\n")
                out.flush()
        yield TaskSuccessEvent()


class DeferOperator(BaseOperator):
    """Defer to one of these triggers at once, as any deferrable operator does."""

    def __init__(self, *, seconds: float | None = None, resumes: bool = False, path: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds
        self.resumes = resumes
        self.path = path

    def execute(self, context: Any) -> None:  # noqa: ARG002
        """Hand over to the triggerer."""
        trigger = LagTrigger(self.path) if self.path else SleepTrigger(self.seconds, self.resumes)
        self.defer(trigger=trigger, method_name="resume")

    def resume(self, context: Any, event: Any) -> None:
        """End in a worker."""


def lags_between(path: Path, begin: float, end: float) -> list[float]:
    """The lags of a time, in seconds."""
    found: list[float] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        at, lags = json.loads(line)
        found += lags if begin <= at <= end else []
    return found
