"""Holds a worker before it defers, or a triggerer before its event is sent, where a test shut that gate."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from hotswap_airflow.operators.slurm import SlurmJobOperator
from hotswap_airflow.triggers.job import SlurmJobTrigger

GATES = Path(os.environ["HOTSWAP_GATES"])
_defer, _run = SlurmJobOperator._defer, SlurmJobTrigger.run


def _reaches(point: str) -> bool:
    try:
        (GATES / point).rename(GATES / f"{point}.held")
    except FileNotFoundError:
        return False
    (GATES / f"{point}.new").write_text(f"{os.getpid()} {os.getppid()}")
    (GATES / f"{point}.new").rename(GATES / f"{point}.reached")
    return True


def _held_defer(self: Any, *args: Any, **kwargs: Any) -> None:
    if _reaches("before-defer"):
        while not (GATES / "release").exists():
            time.sleep(0.05)
    _defer(self, *args, **kwargs)


async def _held_run(self: Any) -> Any:
    async for event in _run(self):
        if _reaches("after-event"):
            while not (GATES / "release").exists():
                await asyncio.sleep(0.05)
        yield event


SlurmJobOperator._defer, SlurmJobTrigger.run = _held_defer, _held_run  # type: ignore[method-assign,assignment]
