"""Facts about a cluster, read from the probe's answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotswap_airflow.errors import UnreadableAnswer
from hotswap_airflow.slurm.parsing import lines

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_VERSION = (20, 11)
"""The oldest version of Slurm whose answers we know."""


@dataclass(frozen=True)
class ClusterFacts:
    """A cluster as a login node shows it. ``time`` is its clock in seconds since 1970.

    ``controller`` is the reason why slurmctld returned no answer, empty if it answered. ``config`` holds some values of
    ``scontrol show config``. ``partitions`` holds for each partition whether it is up.
    """

    version: str
    user: str
    time: float
    folder: str
    has_accounting: bool
    controller: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, bool] = field(default_factory=dict)

    @property
    def release(self) -> tuple[int, int] | None:
        """Year and month of the Slurm release; None if the version does not show them.

        >>> ClusterFacts("slurm-wlm 22.05.8", "ann", 0, "/w", True).release
        (22, 5)
        """
        words = self.version.split()
        numbers = words[-1].split(".") if words else []
        is_known = len(numbers) > 1 and all(number.isdecimal() for number in numbers[:2])
        return (int(numbers[0]), int(numbers[1])) if is_known else None


def parse_probe(text: str) -> ClusterFacts:
    """Read the answer of a probe. Raises ``UnreadableAnswer``."""
    single: dict[str, str] = {}
    config: dict[str, str] = {}
    partitions: dict[str, bool] = {}
    for line in lines(text):
        word, _, rest = line.strip().partition(" ")
        if word == "config":
            name, _, value = rest.partition(" ")
            config[name] = value.strip()
        elif word == "partition":
            name, state = rest.split()[:2]
            partitions[name.rstrip("*")] = state == "up"
        elif word:
            single[word] = rest.strip()
    if not {"version", "user", "time", "folder", "sacct"} <= set(single):
        raise UnreadableAnswer("the probe", text[-500:], "facts")
    return ClusterFacts(
        version=single["version"],
        user=single["user"],
        time=float(single["time"]),
        folder=single["folder"],
        has_accounting=single["sacct"] == "0",
        controller=_complaint(single.get("controller", "0")),
        config=config,
        partitions=partitions,
    )


def _complaint(result: str) -> str:
    """Why squeue failed, from its exit status and its message; empty if it did not fail."""
    status, _, words = result.partition(" ")
    if status == "0":
        return ""
    return words.strip() or ("no answer within 10 s" if status == "124" else f"squeue failed with status {status}")
