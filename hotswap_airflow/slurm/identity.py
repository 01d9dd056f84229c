"""The identity of a job: the job key, which makes a submission happen only once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass

from hotswap_airflow.slurm.parsing import lines

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_DIGEST_LENGTH = 20
_MARK = "hs-"
NAMES = r"\.hs-[A-Za-z0-9_-]*\.[0-9a-f]\{20\}-e[0-9]*-g[0-9]*$"
"""The end of the names of our jobs, as a pattern for grep."""


@dataclass(frozen=True)
class RunKey:
    """A run. The key differs from that of a run of another installation, or of a run made again under the same id."""

    installation: str
    workflow: str
    environment: str
    run: str
    nonce: str

    @property
    def digest(self) -> str:
        """A short text that only this run has."""
        return _digest(self.installation, self.workflow, self.environment, self.run, self.nonce)

    @property
    def folder(self) -> str:
        """The path of the run's folder below ``runs`` in the cluster's work folder, readable for people."""
        run = _UNSAFE.sub("-", self.run).strip("-")[:60]
        return f"{_UNSAFE.sub('-', self.workflow)}/{run}-{self.digest[:8]}"


@dataclass(frozen=True)
class JobKey:
    """One try of one job of a run.

    ``epoch`` changes when a person clears the task and stays the same over automatic retries. ``generation`` grows when
    the job before it ended in failure. ``index`` is the map index, or -1.
    """

    run: RunKey
    job: str
    index: int = -1
    epoch: int = 0
    generation: int = 0

    @property
    def stem(self) -> str:
        """A short text that all tries of this job share."""
        return _digest(self.run.digest, self.job, str(self.index))

    @property
    def digest(self) -> str:
        """A short text that only this try has: ``<stem>-e<epoch>-g<generation>``."""
        return f"{self.stem}-e{self.epoch}-g{self.generation}"

    @property
    def job_name(self) -> str:
        """The job's name in Slurm, its readable part first; it identifies the job even if only accounting knows it."""
        readable = ".".join(_UNSAFE.sub("-", part) for part in (self.run.workflow, self.job))
        return f"{readable}.{_installation(self.run.installation)}.{self.digest}"

    def name_of(self, digest: str) -> str:
        """The name in Slurm of another try of the same job."""
        return self.job_name.removesuffix(self.digest) + digest

    def to_json(self) -> str:
        """Write the key as one line, so that another process can identify the job."""
        run = self.run
        parts = [run.installation, run.workflow, run.environment, run.run, run.nonce]
        return json.dumps([parts, self.job, self.index, self.epoch, self.generation])

    @classmethod
    def from_json(cls, text: str) -> JobKey:
        """Read what ``to_json`` wrote. Raises ``ValueError``."""
        try:
            run, *rest = json.loads(text)
            return cls(RunKey(*run), *rest)
        except TypeError as error:
            raise ValueError(text) from error


def read_keys(notes: str) -> list[JobKey]:
    """The keys in notes, one key on each line; a note that cannot be read is left out."""
    found = []
    for line in lines(notes):
        with contextlib.suppress(ValueError):
            found.append(JobKey.from_json(line))
    return found


def is_named_by(name: str, installation: str) -> bool:
    """Whether a job's name in Slurm is one that this installation gives.

    >>> is_named_by("fit.sample.hs-9f86d081.0123456789abcdef0123-e2-g1", "9f86d081")
    True
    """
    return name.split(".")[-2:-1] == [_installation(installation)]


def _installation(installation: str) -> str:
    return f"{_MARK}{_UNSAFE.sub('-', installation)}"


def digest_of(name: str) -> str:
    """The digest in a job's name.

    >>> digest_of("fit.sample.hs-9f86d081.0123456789abcdef0123-e2-g1")
    '0123456789abcdef0123-e2-g1'
    """
    return name.rpartition(".")[2]


def key_folder(digest: str) -> str:
    """The key folder of a try, relative to the work folder; subfolders are used since a million may be there.

    >>> key_folder("0123456789abcdef0123-e2-g1")
    '.hotswap/jobs/012/0123456789abcdef0123-e2-g1'
    """
    return f".hotswap/jobs/{digest[:3]}/{digest}"


def try_of(digest: str) -> tuple[int, int]:
    """The epoch and the generation in a job's digest.

    >>> try_of("0123456789abcdef0123-e2-g1")
    (2, 1)
    """
    _, epoch, generation = digest.rsplit("-", 2)
    return int(epoch[1:]), int(generation[1:])


def _digest(*parts: str) -> str:
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
