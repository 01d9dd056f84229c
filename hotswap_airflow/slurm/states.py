"""Slurm's job states, and what each means for a task that waits for the job."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from hotswap_airflow import errors
from hotswap_airflow.slurm.causes import BY_ERROR, BY_STATE, FAILED_STATES, NODE_BROKE

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_STARTED = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT"})
REVOKED = "REVOKED"
"""Another cluster of a federation has the job, so the job's end is known there."""
SIGNALS = 128
"""A greater exit status means that a signal ended the script."""
_NO_LOG = 53
"""The signal that Slurm records if it could not open a job's log."""
_OUT_OF_MEMORY_STATUSES = frozenset({125, 137})
_NO_NODE = frozenset({"(null)", "None assigned"})
_NEVER = {
    "BadConstraints": "no node has what the job requests",
    "PartitionTimeLimit": "its time is longer than the partition allows",
    "DependencyNeverSatisfied": "a job that it waits for will never end as required",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "AccountNotAllowed": "its account may not use the partition",
    "QOSNotAllowed": "its QOS may not use the partition",
    # Other limits of one job are not listed: Slurm checks them against the nodes just chosen, and other nodes may fit.
    "QOSMaxWallDurationPerJobLimit": "its time is longer than the QOS allows",
    "AssocMaxWallDurationPerJobLimit": "its time is longer than the account allows",
}
_REASONS = {
    "Priority": "jobs of higher priority come first",
    "Resources": "it starts as soon as nodes are free",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as your QOS allows",
    "Licenses": "all licences are in use",
    "JobHeldAdmin": "an administrator holds it, and can release it with `scontrol release JOBID`",
    "JobHeldUser": "its owner holds it; release it with `scontrol release JOBID`",
    "launch failed requeued held": "it could not be started and is held; release it with `scontrol release JOBID`",
    "Dependency": "a job that it depends on has not ended",
    "PartitionNodeLimit": "it requests more nodes than the partition allows or has available now",
    "ReqNodeNotAvail": "a node that it needs is down or reserved",
    "AssocGrpBillingMinutes": "the account has used up its share",
    "BeginTime": "its start time has not come",
    "MaxSubmitJobsPerUser": "you have as many jobs submitted as is allowed",
}


class Phase(Enum):
    """How far a job is, as far as the answers allow a conclusion."""

    WAITING = "waiting"  # accepted, not started; also every state we do not know
    RUNNING = "running"  # on its nodes, or leaving them
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"  # two sources do not know the job
    UNREACHABLE = "unreachable"  # no source answered: changes nothing

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to the job."""
        # Called tens of thousands of times in each poll; a test against a set of members takes three times as long.
        return self is Phase.SUCCEEDED or self is Phase.FAILED or self is Phase.GONE


_PHASES = {
    "COMPLETED": Phase.SUCCEEDED,
    **dict.fromkeys(FAILED_STATES, Phase.FAILED),
    **dict.fromkeys(_STARTED, Phase.RUNNING),
    "GONE": Phase.GONE,
    "UNREACHABLE": Phase.UNREACHABLE,
}


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job: Slurm's own state word, and details if a source returned them.

    ``exit_status`` is the exit status of the script (0-255), ``signal`` is 0 if there was no signal. Both are None if
    they are not known.
    """

    state: str
    reason: str = ""
    exit_status: int | None = None
    signal: int | None = None
    nodes: str = ""
    by: str = ""

    @property
    def phase(self) -> Phase:
        """The phase of the state; an unknown state word counts as active."""
        return _PHASES.get(self.state, Phase.WAITING)

    @property
    def is_active(self) -> bool:
        """Whether there is something left to cancel."""
        return not self.phase.is_final and self.state != "COMPLETING"

    @property
    def is_held(self) -> bool:
        """Whether the job waits until a person releases it."""
        return self.phase is Phase.WAITING and "held" in self.reason.lower()

    def told_of(self, job_id: int) -> str:
        """The status of a job in words; the remedies in it name the job.

        >>> JobStatus("PENDING", reason="JobHeldUser").told_of(7)
        'PENDING (JobHeldUser: its owner holds it; release it with `scontrol release 7`)'
        """
        return self.sentence.replace("JOBID", str(job_id))

    @property
    def lost_log(self) -> bool:
        """Whether Slurm could not begin the job, as if it cannot open the log: exit code 0:53, or the queue's reason.

        A script whose slurmstepd was killed is shown in the same way.
        """
        is_lost = self.reason == "JobLaunchFailure" or (self.exit_status == 0 and self.signal == _NO_LOG)
        return self.state == "FAILED" and is_lost

    @property
    def never_starts(self) -> bool:
        """Whether the reason for which the job waits can never go away."""
        return self.phase is Phase.WAITING and self.reason in _NEVER

    @property
    def broken_node(self) -> str:
        """The node that broke down under the job; empty if it is not known which of several nodes did.

        >>> JobStatus("NODE_FAIL", nodes="n3").broken_node, JobStatus("NODE_FAIL", nodes="n[3-4]").broken_node
        ('n3', '')
        """
        return self.nodes if self.state in NODE_BROKE and _NODE.fullmatch(self.nodes) else ""

    @property
    def sentence(self) -> str:
        """The status in words for a log."""
        if self.state == REVOKED:
            return f"{REVOKED} (another cluster of the federation has it)"
        if self.phase is Phase.WAITING and self.reason not in {"", "None"}:
            words = _NEVER.get(self.reason) or _REASONS.get(self.reason)
            return f"{self.state} ({self.reason}: {words})" if words else f"{self.state} ({self.reason})"
        return f"{self.state} on {self.nodes}" if self.nodes and self.nodes != "(null)" else self.state

    def with_sentinel(self, exit_status: int) -> JobStatus:
        """The status with the exit status that the script noted; it decides the state only if Slurm knows no end."""
        if self.phase.is_final and self.phase is not Phase.GONE:
            return replace(self, exit_status=exit_status) if self.exit_status is None else self
        state = "COMPLETED" if exit_status == 0 else "FAILED"
        return replace(self, state=state, exit_status=exit_status)


GONE = JobStatus("GONE")
UNREACHABLE = JobStatus("UNREACHABLE")


def error_of(status: JobStatus, job: str) -> errors.JobError | None:
    """Give a failed job's error, which names the remedy; None for a success or a job that goes on.

    A failed job with exit status 0 and signal 125 or 137 also ran out of memory (Slurm's cgroup kill).
    """
    if status.phase is Phase.GONE:
        return errors.JobNodeFailed(f"job {job} is gone: {status.reason or 'neither squeue nor accounting knows it'}")
    if status.never_starts:
        return errors.JobNeverStarts(f"job {job} can never start: {status.sentence}")
    if status.phase is not Phase.FAILED:
        return None
    if _killed_for_memory(status):
        return errors.JobOutOfMemory(f"job {job} {BY_ERROR['JobOutOfMemory'].words}")
    if status.lost_log:
        return errors.JobFailed(f"job {job} failed: {no_log(status.nodes)}")
    cause = BY_STATE[status.state]
    if not cause.words:
        return cause.error(f"job {job} failed with {_ending(status)}; see its log")
    by = f" by {status.by}" if status.by else ""
    of = f" of {status.nodes}" if status.nodes else ""
    return cause.error(f"job {job} {cause.words.format(by=by, of=f'{of} ({status.state})')}")


def no_log(node: str, folder: str = "its work folder", user: str = "its user") -> str:
    """Why a script may not have begun, in words for the person that sets up the cluster."""
    where = f" on {node}" if node and node not in _NO_NODE else ""
    words = "Slurm could not start its script (JobLaunchFailure), for example because it could not open the log"
    return f"{words}; check that {folder} exists{where} and is writable for {user}"


def _killed_for_memory(status: JobStatus) -> bool:
    return status.exit_status == 0 and status.signal in _OUT_OF_MEMORY_STATUSES


def _ending(status: JobStatus) -> str:
    if status.signal:
        return f"signal {status.signal}"
    if status.exit_status is not None:
        return f"exit status {status.exit_status}"
    return f"state {status.state}"
