"""Every error of hotswap, named by its remedy.

::

    HotswapError
    ├── SpecError            a file is wrong: correct it where the problems point
    ├── ClusterError         the cluster could not be asked or told
    │   ├── ConnectionLost       wait, it is tried again
    │   │   └── LoginAwaited         a person must log in meanwhile; jobs go on
    │   ├── LoginRequired        a person must log in, or mend a key
    │   ├── CommandFailed        a command answered with an error
    │   │   └── SubmissionRefused    Slurm will not take the job as it is
    │   ├── SubmitLimitReached   wait until some of our jobs have ended
    │   └── UnreadableAnswer     a command answered in words we do not know
    ├── JobError             a job ended without success
    │   ├── JobFailed JobTimedOut JobOutOfMemory JobCancelled JobPastDeadline
    │   ├── JobPreempted JobNodeFailed     not the user's doing: submitted again
    │   └── JobNeverStarts OutputMissing
    ├── StoreError           content that a run began with cannot be read
    └── SetupError           the installation or a setting must be mended
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HotswapError(Exception):
    """Base of all: catch it to show a person one clear message."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file, where it stands, and what to do.

    ``line`` and ``column`` count from 1, columns in characters; both are 0 where there is no place.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Give ``FILE:LINE:COL: CODE: message; remedy``."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.code}: {self.message}; {self.remedy}"

    @property
    def is_note(self) -> bool:
        """Whether this only tells something, and nothing must be mended."""
        return self.code == "ignored"


class SpecError(HotswapError):
    """A workflow or site file that cannot be used; ``problems`` is never empty, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SetupError(HotswapError):
    """The installation, a setting or a command line must be mended by a person."""


class StoreError(HotswapError):
    """Content that a run began with is not in the store."""


class ClusterError(HotswapError):
    """The cluster could not be asked or told."""


class ConnectionLost(ClusterError):
    """No answer. Nothing is known about any job because of it: wait and ask again."""


class LoginAwaited(ConnectionLost):
    """The cluster refuses us for now: it is left in peace, and a person must log in or mend a key."""


class LoginRequired(ClusterError):
    """The cluster refuses us, or is not the host we know: only a person can mend that."""


class CommandFailed(ClusterError):
    """A command on the cluster answered with an error."""


class SubmissionRefused(CommandFailed):
    """Slurm will not take the job as it is; the same job would be refused again."""


class SubmitLimitReached(ClusterError):
    """So many jobs of ours are all that the cluster takes for now; it takes more when some have ended."""


class UnreadableAnswer(ClusterError):
    """A command on the cluster answered in words we do not know."""

    def __init__(self, asked: str, said: str, expected: str) -> None:
        super().__init__(f"{asked} answered, but with no {expected}. It said: {said.strip()!r}")


class JobError(HotswapError):
    """A job ended without success."""


class JobFailed(JobError):
    """The script ended with a non-zero status or a signal: read its log."""


class OutputMissing(JobError):
    """The script ended well but did not make what the workflow declares."""


class JobTimedOut(JobError):
    """The job reached its time limit: raise ``slurm.time``."""


class JobOutOfMemory(JobError):
    """The job used more memory than it asked for: raise ``slurm.mem``."""


class JobPastDeadline(JobError):
    """The job was not done by its deadline: move ``slurm.deadline``, or begin sooner."""


class JobCancelled(JobError):
    """Somebody cancelled the job on the cluster."""


class JobPreempted(JobError):
    """The job had to make room for another: not the user's doing."""


class JobNodeFailed(JobError):
    """A node of the job broke down: not the user's doing."""


class JobNeverStarts(JobError):
    """The reason for which the job waits can never clear."""
