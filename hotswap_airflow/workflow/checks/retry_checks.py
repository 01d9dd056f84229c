"""The keys of a job for a new submission after a failure, and for saving its state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.context import CheckContext

_SIGNAL = re.compile(r"(?:SIG)?[A-Z][A-Z0-9]*@([0-9]{1,9})")
_LONGEST = 65_535
"""The most seconds before the end of a job at which Slurm can send a signal."""


def check_recovery(context: CheckContext) -> Iterator[Problem]:
    """Find problems in ``retry``, ``retries`` and ``checkpoint`` of every job."""
    for job, body in context.spec.jobs.items():
        keys = context.keys_of("jobs", job)
        both = [key for key in keys if key in {"retry", "retries"} and context.raw("jobs", job, key) is not None]
        for second in both[1:]:
            words = f"`{both[0]}` and `{second}` exclude each other in jobs.{job}"
            yield context.at_key(("jobs", job, second), "conflict", words, f"keep one of them; `{both[0]}` may do")
        if body.checkpoint is not None:
            yield from _checkpoint(context, job, body.checkpoint.signal)


def _checkpoint(context: CheckContext, job: str, signal: str) -> Iterator[Problem]:
    here = ("jobs", job, "checkpoint")
    match = _SIGNAL.fullmatch(signal)
    if match is None:
        words = f"`{signal}` is no signal with its seconds before the end"
        yield context.at_value((*here, "signal"), "wrong-type", words, "write for example `signal: USR1@120`")
    elif int(match[1]) > _LONGEST:
        words = f"`{signal}` comes more than {_LONGEST} s before the end"
        yield context.at_value((*here, "signal"), "out-of-range", words, f"use {_LONGEST} or less")
    if context.raw("jobs", job, "slurm", "signal") is not None:
        keys = context.keys_of("jobs", job)
        is_later = keys.index("slurm") > keys.index("checkpoint")
        place = ("jobs", job, "slurm", "signal") if is_later else here
        words = f"`checkpoint` and `slurm.signal` exclude each other in jobs.{job}"
        yield context.at_key(place, "conflict", words, "keep `checkpoint`")
