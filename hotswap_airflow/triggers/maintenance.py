"""The base of maintenance triggers: each works for a scheduled task, on what an installation has on one cluster."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent

from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.errors import ConnectionLost, HotswapError
from hotswap_airflow.triggers.conductors import shared_conductor
from hotswap_airflow.triggers.events import resuming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow.triggers.base import TriggerEvent

    from hotswap_airflow.cluster.jobs.conductor import JobConductor


class MaintenanceTrigger(BaseTrigger):
    """Do the maintenance. The task is skipped this time if the cluster or Airflow gives no answer."""

    def __init__(self, *, target: Mapping[str, Any], installation: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target = ClusterTarget.from_json(target)
        self.installation = installation

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The target and the installation."""
        kwargs = {"target": self.target.to_json(), "installation": self.installation}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the maintenance once."""
        started = time.monotonic()
        try:
            async with shared_conductor(self.target) as conductor:
                await self.maintain(conductor)
        except (ConnectionLost, TimeoutError) as error:
            self._report(f"skipped this time: {str(error) or 'Airflow gave no answer'}")
            yield TaskSkippedEvent()
        except HotswapError as error:
            yield await resuming(started, {"error": f"{type(error).__name__}: {error}"})
        else:
            yield TaskSuccessEvent()

    async def maintain(self, conductor: JobConductor) -> None:
        """The work of one kind of maintenance. Raises ``HotswapError``, ``TimeoutError``."""
        raise NotImplementedError

    def _report(self, line: str) -> None:
        self.log.log(logging.INFO, "%s", line)
