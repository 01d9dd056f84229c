"""Holds a worker before it defers, or a triggerer before its event is sent, where a test shut that gate."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from hotswap_airflow.operators.slurm import SlurmJobOperator
from hotswap_airflow.triggers import events, reconcile
from hotswap_airflow.triggers.job import SlurmJobTrigger

events.RESUME_DELAY = float(os.environ.get("HOTSWAP_RESUME_DELAY", events.RESUME_DELAY))
reconcile.SECOND_LOOK = 5.0
GATES = Path(os.environ["HOTSWAP_GATES"])
_defer, _resume, _run = SlurmJobOperator._defer, SlurmJobOperator.resume, SlurmJobTrigger.run


def _reaches(point: str) -> bool:
    try:
        (GATES / point).rename(GATES / f"{point}.held")
    except FileNotFoundError:
        return False
    (GATES / f"{point}.new").write_text(f"{os.getpid()} {os.getppid()}")
    (GATES / f"{point}.new").rename(GATES / f"{point}.reached")
    return True


def _held_defer(self: Any, *args: Any, **kwargs: Any) -> None:
    _hold("before-defer")
    _defer(self, *args, **kwargs)


def _held_resume(self: Any, context: Any, event: Any) -> Any:
    # `airflow dags test` hands on the plain word of an end in the trigger.
    if not isinstance(event, str) and event["error"]:
        _hold("before-failing")
    return _resume(self, context, event)


def _hold(point: str) -> None:
    if _reaches(point):
        while not (GATES / "release").exists():
            time.sleep(0.05)


async def _held_run(self: Any) -> Any:
    async for event in _run(self):
        if _reaches("after-event"):
            while not (GATES / "release").exists():
                await asyncio.sleep(0.05)
        yield event


SlurmJobOperator._defer = _held_defer  # type: ignore[method-assign,assignment]
SlurmJobOperator.resume = _held_resume  # type: ignore[method-assign]
SlurmJobTrigger.run = _held_run  # type: ignore[method-assign,assignment]
