"""Why a job ended without success: one row for each cause. Everything that depends on a cause follows from its row.

A new cause needs a class in ``errors`` and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotswap_airflow.errors import (
    JobCancelled,
    JobError,
    JobFailed,
    JobNeverStarts,
    JobNodeFailed,
    JobOutOfMemory,
    JobPastDeadline,
    JobPreempted,
    JobTimedOut,
    OutputMissing,
)

RetryCause = Literal["node_fail", "preempted", "timeout", "oom", "failed"]
"""What ``retry.on`` may name."""
Kind = RetryCause | Literal["other"]


@dataclass(frozen=True)
class Cause:
    """One way to fail.

    ``states`` are Slurm's words for it, the usual word first. ``words`` describe it in a sentence about a job; ``{by}``
    stands for the user that did it, ``{of}`` for the nodes. ``retry`` is its name in ``retry.on``. ``by_default``: the
    job is submitted again unless the file says otherwise, because the user did not cause the failure.
    ``needs_person``: another try of the task cannot help. ``may_go_on``: a script that saved its state before the
    failure continues from that state. ``grows`` is the option of which the job had too little.
    """

    error: type[JobError]
    states: tuple[str, ...] = ()
    words: str = ""
    retry: Kind = "other"
    by_default: bool = False
    needs_person: bool = False
    may_go_on: bool = False
    grows: Literal["", "mem", "time"] = ""


CAUSES = (
    Cause(JobFailed, ("FAILED",), retry="failed", may_go_on=True),
    Cause(
        JobTimedOut,
        ("TIMEOUT",),
        "reached its time limit; raise slurm.time",
        retry="timeout",
        may_go_on=True,
        grows="time",
    ),
    Cause(JobOutOfMemory, ("OUT_OF_MEMORY",), "ran out of memory; raise slurm.mem", retry="oom", grows="mem"),
    Cause(JobCancelled, ("CANCELLED",), "was cancelled on the cluster{by}"),
    Cause(JobPreempted, ("PREEMPTED",), "was preempted", retry="preempted", by_default=True, may_go_on=True),
    Cause(
        JobNodeFailed,
        ("NODE_FAIL", "BOOT_FAIL"),
        "lost a node{of}",
        retry="node_fail",
        by_default=True,
        may_go_on=True,
    ),
    Cause(
        JobPastDeadline,
        ("DEADLINE",),
        "cannot be done, or was not done, by its deadline; move slurm.deadline, or request less time",
        needs_person=True,
    ),
    Cause(JobNeverStarts, needs_person=True),
    Cause(OutputMissing, retry="failed"),
)
BY_ERROR = {cause.error.__name__: cause for cause in CAUSES}
"""The causes by the name of the error's class; notes on clusters hold this name."""
BY_STATE = {state: cause for cause in CAUSES for state in cause.states}
FAILED_STATES = frozenset(BY_STATE)
NODE_BROKE = frozenset(BY_ERROR["JobNodeFailed"].states)
MAY_GO_ON = tuple(cause.error for cause in CAUSES if cause.may_go_on)
NEED_PERSON = tuple(cause.error for cause in CAUSES if cause.needs_person)
NOT_THE_USERS: frozenset[Kind] = frozenset(cause.retry for cause in CAUSES if cause.by_default)
KINDS: frozenset[Kind] = frozenset(cause.retry for cause in CAUSES)


def kind_of(error: str) -> Kind:
    """The name in ``retry.on`` for an error, given by the name of its class."""
    cause = BY_ERROR.get(error)
    return cause.retry if cause is not None else "other"


def state_of(error: str) -> str:
    """Slurm's word for an end, by the name of the error's class.

    >>> state_of("JobTimedOut"), state_of("OutputMissing")
    ('TIMEOUT', 'FAILED')
    """
    cause = BY_ERROR.get(error)
    return cause.states[0] if cause is not None and cause.states else "FAILED"


def error_class(name: str) -> type[JobError]:
    """The class of an error by its name in a note; a name that only a later version knows counts as a plain failure."""
    cause = BY_ERROR.get(name)
    return cause.error if cause is not None else JobFailed
