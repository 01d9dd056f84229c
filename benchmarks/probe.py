"""Triggers that do nothing: one to compare with, and one that says how late the triggerer's event loop is."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from dataclasses import dataclass, field
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
    """Write down, once a second, by how many seconds its wake-ups of that second came too late.

    And the longest callback of the loop, without the garbage collections that fell into it: by the clock, and what it
    took of the processor, which is less where others wanted the cores meanwhile.
    """

    def __init__(self, path: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where to write."""
        return "benchmarks.probe.LagTrigger", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Measure for ever."""
        watched = _Callbacks()
        with Path(self.path).open("a", encoding="utf-8") as out:  # noqa: ASYNC230 - a line a second
            while True:
                lags = []
                until = time.monotonic() + 1
                while (now := time.monotonic()) < until:
                    await asyncio.sleep(BEAT)
                    lags.append(round(time.monotonic() - now - BEAT, 4))
                out.write(f"{json.dumps([time.time(), lags, *watched.taken()])}\n")
                out.flush()
        yield TaskSuccessEvent()


class _Callbacks:
    """Times each callback of an event loop, and each garbage collection."""

    def __init__(self) -> None:
        self.pause, self.longest, self.processor, self.name = 0.0, 0.0, 0.0, ""
        self.collected, self.collected_here = 0.0, 0.0
        self._began, self._busy = 0.0, 0.0
        self._thread = threading.get_ident()
        gc.callbacks.append(self._collect)
        plain = asyncio.Handle._run  # noqa: SLF001 - there is no other place where every callback passes

        def timed(handle: Any) -> None:
            busy, began = time.thread_time() - self.collected_here, time.perf_counter() - self.collected
            plain(handle)
            took = time.perf_counter() - self.collected - began
            if took > self.longest:
                self.longest, self.processor = took, time.thread_time() - self.collected_here - busy
                self.name = _named(handle)

        asyncio.Handle._run = timed  # type: ignore[attr-defined,method-assign]  # noqa: SLF001

    def _collect(self, phase: str, _: Any) -> None:
        if phase == "start":
            self._busy, self._began = time.thread_time(), time.perf_counter()
            return
        if threading.get_ident() == self._thread:  # that of the loop
            self.collected_here += time.thread_time() - self._busy
        took = time.perf_counter() - self._began
        self.collected += took
        self.pause = max(self.pause, took)

    def taken(self) -> tuple[float, float, float, str]:
        """The longest callback by the clock, its time of the processor, the longest collection, whose it was."""
        seen = (round(self.longest, 4), round(self.processor, 4), round(self.pause, 4), self.name)
        self.pause, self.longest, self.processor, self.name = 0.0, 0.0, 0.0, ""
        return seen


def _named(handle: Any) -> str:
    """Whose callback it is: that of a socket says who reads from it, and from whom."""
    owner = getattr(handle._callback, "__self__", handle)  # noqa: SLF001
    if isinstance(owner, asyncio.Transport):
        return f"{owner!r} of {owner.get_protocol()!r} to {owner.get_extra_info('peername')!r}"
    return repr(owner)


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


@dataclass
class Late:
    """How late a loop was in some time, in seconds, and the longest that held it."""

    lags: list[float] = field(default_factory=list)
    collection: float = 0.0
    callbacks: list[tuple[float, float, str]] = field(default_factory=list)
    """The longest of each second: by the clock, of the processor, and whose it was."""


def late_between(path: Path, begin: float, end: float) -> Late:
    """What a ``LagTrigger`` wrote in a time."""
    late = Late()
    for line in path.read_text(encoding="utf-8").splitlines():
        at, lags, callback, processor, collection, name = json.loads(line)
        if not begin <= at <= end:
            continue
        late.lags += lags
        late.collection = max(late.collection, collection)
        late.callbacks.append((callback, processor, name))
    return late
