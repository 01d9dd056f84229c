"""Events that let a task resume in a worker, not sooner than is safe."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.errors import HotswapError

RESUME_DELAY = 10.0
"""Seconds before which a task must not resume: an executor's late news of the deferring process would fail it."""


def error_payload(error: HotswapError) -> dict[str, Any]:
    """An error as the payload of an event: its class, which names the remedy, and its words."""
    return {"error": type(error).__name__, "message": str(error)}


async def resuming(started: float, payload: Mapping[str, Any]) -> TriggerEvent:
    """The event of a trigger that began at ``started`` (monotonic seconds), once it may be sent."""
    await asyncio.sleep(max(0.0, RESUME_DELAY - (time.monotonic() - started)))
    return TriggerEvent(dict(payload))  # type: ignore[no-untyped-call]
