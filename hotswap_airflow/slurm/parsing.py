"""Read what Slurm's programs print. One function for each; text in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.errors import UnreadableAnswer
from hotswap_airflow.slurm.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNKNOWN_OUTCOME = re.compile(
    r"Socket timed out|Unable to contact slurm controller|Connection (?:refused|timed out|reset)"
    r"|Zero Bytes were transmitted|Transport endpoint|Unexpected message received"
    r"|backup controller|munge|Unable to resolve|Unable to establish control machine address"
    r"|Host name lookup failure|Temporary failure in name resolution"
    r"|system is (?:too busy|being reconfigured)",
    re.IGNORECASE,
)
_NO_CONFIGURATION = re.compile(r"Could not establish a configuration source", re.IGNORECASE)
_SUBMIT_LIMIT = re.compile(
    r"(?:Assoc|QOS)\w*SubmitJobs?\w*Limit|Resource temporarily unavailable|job queue full|temporarily unable"
)
SQUEUE_FORMAT = "%i|%T|%r|%N|%j"
SACCT_FIELDS = "JobID,State,ExitCode,NodeList,Cluster,JobName"
_SQUEUE_COUNT, _SACCT_COUNT = 5, 6
_JOB_ID = re.compile(r"[0-9]+(?:_(?:[0-9]+|\[[^|]*\]))?(?:\+[0-9]+)?\|")


def lines(text: str) -> list[str]:
    r"""The lines that a program wrote: only a line feed ends a line.

    ``str.splitlines`` also cuts at form feeds, U+0085, U+2028 and other characters, which may occur inside a value.

    >>> lines("a\x0cb\nc\n")
    ['a\x0cb', 'c']
    """
    found = text.split("\n")
    return found if found[-1] else found[:-1]


@dataclass(frozen=True)
class QueuedJob:
    """A line of squeue or sacct: a job's id, name and status; only sacct gives ``cluster``."""

    job_id: str
    name: str
    status: JobStatus
    cluster: str = ""

    @property
    def base_id(self) -> int:
        """The job's number, without array index or component.

        >>> QueuedJob("17_3", "a", JobStatus("RUNNING")).base_id
        17
        """
        return int(self.job_id.split("_")[0].split("+")[0])


def outcome_is_unknown(stderr: str) -> bool:
    """Whether Slurm may have accepted the job although sbatch failed.

    >>> outcome_is_unknown("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    True
    """
    return _UNKNOWN_OUTCOME.search(stderr) is not None


def lacks_configuration(stderr: str) -> bool:
    """Whether Slurm's programs find neither a slurm.conf nor a controller that could give them one.

    A known controller that does not answer may come back, so that error does not count.

    >>> lacks_configuration("sbatch: fatal: Could not establish a configuration source")
    True
    """
    return _NO_CONFIGURATION.search(stderr) is not None and not outcome_is_unknown(stderr)


def sbatch_words(stderr: str) -> str:
    r"""The complaint of sbatch, in one line.

    >>> sbatch_words("sbatch: error: Batch job submission failed: Invalid qos\n")
    'Batch job submission failed: Invalid qos'
    """
    return " ".join(line.removeprefix("sbatch: error: ") for line in lines(stderr.strip()))


def submit_limit(stderr: str) -> str | None:
    r"""The limit on submitted jobs for which sbatch refused the job; None if there was another reason.

    >>> submit_limit("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: …")
    'QOSMaxSubmitJobPerUserLimit'
    """
    match = _SUBMIT_LIMIT.search(stderr)
    return match[0] if match else None


def parse_squeue(stdout: str) -> Iterator[QueuedJob]:
    """Read ``squeue -h -t all -o SQUEUE_FORMAT``. Raises ``UnreadableAnswer`` if a line is cut off.

    A line that does not begin with a job id belongs to the name before it, because names may hold line breaks.

    >>> next(parse_squeue("7|PENDING|Resources||hs.a.b.c")).status.reason
    'Resources'
    """
    for line in stdout.split("\n"):
        if not _JOB_ID.match(line):
            continue
        fields = line.split("|", _SQUEUE_COUNT - 1)
        if len(fields) < _SQUEUE_COUNT:
            raise UnreadableAnswer("squeue", line, f"line of {_SQUEUE_COUNT} fields")
        job_id, state, reason, nodes, name = fields
        yield QueuedJob(job_id, name, JobStatus(state, reason=reason, nodes=nodes))


def parse_sacct(stdout: str) -> Iterator[QueuedJob]:
    """Read ``sacct -X -n -P -o SACCT_FIELDS``: one line for each job.

    >>> next(parse_sacct("7|CANCELLED by 1000|0:15|n1|alps|hs.a.b.c")).status.by
    '1000'
    """
    for line in stdout.split("\n"):
        if not _JOB_ID.match(line):
            continue
        fields = line.split("|", _SACCT_COUNT - 1)
        if len(fields) < _SACCT_COUNT:
            raise UnreadableAnswer("sacct", line, f"line of {_SACCT_COUNT} fields")
        job_id, state, ending, nodes, cluster, name = fields
        word, _, by = state.partition(" by ")
        status, signal = _exit_code(ending)
        found = JobStatus(word.rstrip("+"), exit_status=status, signal=signal, nodes=nodes, by=by)
        yield QueuedJob(job_id, name, found, cluster)


def _exit_code(text: str) -> tuple[int | None, int | None]:
    status, _, signal = text.partition(":")
    if not (status.isascii() and status.isdigit()):
        return None, None
    return int(status), int(signal) if signal.isascii() and signal.isdigit() else None
