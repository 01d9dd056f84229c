"""Events that let a task resume in a worker, but not before that is safe."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotswap_airflow.errors import HotswapError

RESUME_DELAY = 10.0
"""A task must not resume sooner (seconds): an executor's late event of the deferring process would fail it."""


def error_payload(error: HotswapError) -> dict[str, Any]:
    """An error as the payload of an event: the name of its class, which decides about retries, and its message."""
    return {"error": type(error).__name__, "message": str(error)}


async def resuming(started: float, payload: Mapping[str, Any]) -> TriggerEvent:
    """The event of a trigger that began at ``started`` (monotonic seconds). Waits until it may be sent."""
    await asyncio.sleep(max(0.0, RESUME_DELAY - (time.monotonic() - started)))
    return TriggerEvent(dict(payload))  # type: ignore[no-untyped-call]
