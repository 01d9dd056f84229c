"""Every error of hotswap, with its remedy.

::

    HotswapError
    ├── SpecError            a file is wrong: correct it where the problems point
    ├── ClusterError         a request to the cluster did not succeed
    │   ├── ConnectionLost       wait, it is tried again
    │   │   └── LoginAwaited         a person must log in meanwhile; jobs go on
    │   ├── LoginRequired        a person must log in, or repair a key
    │   ├── CommandFailed        a command returned an error
    │   │   └── SubmissionRefused    Slurm does not accept the job as it is
    │   ├── SubmitLimitReached   wait until some of our jobs have ended
    │   └── UnreadableAnswer     a command returned an answer that we cannot read
    ├── JobError             a job ended without success
    │   ├── JobFailed JobTimedOut JobOutOfMemory JobCancelled JobPastDeadline
    │   ├── JobPreempted JobNodeFailed     not caused by the user: submitted again
    │   └── JobNeverStarts OutputMissing
    ├── StoreError           content that a run began with cannot be read
    └── SetupError           the installation or a setting must be corrected
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HotswapError(Exception):
    """Base of all errors: catch it to show a person one clear message."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _escaped(match: re.Match[str]) -> str:
    return {"\n": r"\n", "\t": r"\t"}.get(match[0], f"<U+{ord(match[0]):04X}>")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file, its place, and what to do.

    ``line`` and ``column`` count from 1, columns in characters; both are 0 if there is no place. ``message`` and
    ``remedy`` quote what files hold, but are of one line each: a line break or another control character in them
    becomes its escape.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    remedy: str

    def __post_init__(self) -> None:
        for name in ("message", "remedy"):
            object.__setattr__(self, name, _CONTROL.sub(_escaped, getattr(self, name)))

    def __str__(self) -> str:
        """Give ``FILE:LINE:COL: CODE: message; remedy``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.code}: {self.message}; {self.remedy}"

    @property
    def is_note(self) -> bool:
        """Whether the problem is only information, and nothing must be corrected."""
        return self.code == "ignored"


class SpecError(HotswapError):
    """A workflow or site file that cannot be used; ``problems`` is never empty, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SetupError(HotswapError):
    """The installation, a setting or a command line must be corrected by a person."""


class StoreError(HotswapError):
    """Content that a run began with is not in the store."""


class ClusterError(HotswapError):
    """A request to the cluster did not succeed."""


class ConnectionLost(ClusterError):
    """No answer. It shows nothing about any job: wait and request again."""


class LoginAwaited(ConnectionLost):
    """The cluster refuses us for now: no login is tried for a while, and a person must log in or repair a key."""


class LoginRequired(ClusterError):
    """The cluster refuses us, or is not the host that we know: only a person can correct that."""


class CommandFailed(ClusterError):
    """A command on the cluster returned an error."""


class SubmissionRefused(CommandFailed):
    """Slurm does not accept the job as it is; the same job would be refused again."""


class SubmitLimitReached(ClusterError):
    """The cluster takes no more jobs of ours for now; it takes more when some have ended."""


class UnreadableAnswer(ClusterError):
    """A command on the cluster returned an answer that we cannot read."""

    def __init__(self, source: str, answer: str, expected: str) -> None:
        super().__init__(f"{source} returned no {expected}; the answer was: {answer.strip()!r}")


class JobError(HotswapError):
    """A job ended without success."""


class JobFailed(JobError):
    """The script ended with a non-zero status or a signal: read its log."""


class OutputMissing(JobError):
    """The script ended well but did not make what the workflow declares."""


class JobTimedOut(JobError):
    """The job reached its time limit: raise ``slurm.time``."""


class JobOutOfMemory(JobError):
    """The job used more memory than it requested: raise ``slurm.mem``."""


class JobPastDeadline(JobError):
    """The job was not done by its deadline: move ``slurm.deadline``, or begin earlier."""


class JobCancelled(JobError):
    """Somebody cancelled the job on the cluster."""


class JobPreempted(JobError):
    """The job had to make room for another job: not caused by the user."""


class JobNodeFailed(JobError):
    """A node of the job broke down: not caused by the user."""


class JobNeverStarts(JobError):
    """The reason for which the job waits can never go away."""
