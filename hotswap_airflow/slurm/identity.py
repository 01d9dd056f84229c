"""Who a job is: the key that makes a submission happen once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass, replace

from hotswap_airflow.slurm.parsing import lines

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_DIGEST_LENGTH = 20
_MARK = "hs-"
NAMES = r"\.hs-[A-Za-z0-9_-]*\.[0-9a-f]\{20\}-e[0-9]*-g[0-9]*$"
"""How the names of our jobs end, for grep."""


@dataclass(frozen=True)
class RunKey:
    """A run, apart from every other: of another installation, or made again under the same id."""

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
        """Where the run lives below the cluster's work folder, readable for people."""
        run = _UNSAFE.sub("-", self.run).strip("-")[:60]
        return f"{_UNSAFE.sub('-', self.workflow)}/{run}-{self.digest[:8]}"


@dataclass(frozen=True)
class JobKey:
    """One try of one job of a run.

    ``epoch`` changes when a person clears the task and is constant over automatic retries;
    ``generation`` grows when the job before it ended in failure; ``index`` is -1 or the map index.
    """

    run: RunKey
    job: str
    index: int = -1
    epoch: int = 0
    generation: int = 0

    @property
    def stem(self) -> str:
        """What all tries of this job share."""
        return _digest(self.run.digest, self.job, str(self.index))

    @property
    def digest(self) -> str:
        """A short text that only this try has: ``<stem>-e<epoch>-g<generation>``."""
        return f"{self.stem}-e{self.epoch}-g{self.generation}"

    @property
    def job_name(self) -> str:
        """The job's name in Slurm, its readable part first; accounting alone can tell from it whose job it was."""
        readable = ".".join(_UNSAFE.sub("-", part) for part in (self.run.workflow, self.job))
        return f"{readable}.{_installation(self.run.installation)}.{self.digest}"

    def name_of(self, digest: str) -> str:
        """The name in Slurm of another try of the same job."""
        return self.job_name.removesuffix(self.digest) + digest

    def to_json(self) -> str:
        """Write the key as one line, so that another process knows whose a job is."""
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

    def next_generation(self) -> JobKey:
        """The key of the try after this one has failed."""
        return replace(self, generation=self.generation + 1)


def read_keys(notes: str) -> list[JobKey]:
    """The keys of notes, one a line; a note that cannot be read is left out."""
    found = []
    for line in lines(notes):
        with contextlib.suppress(ValueError):
            found.append(JobKey.from_json(line))
    return found


def is_named_by(name: str, installation: str) -> bool:
    """Whether a job in Slurm has a name as an installation gives them.

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
    """Where the own files of a job's try are below the work folder, which may hold a million of them.

    >>> key_folder("0123456789abcdef0123-e2-g1")
    '.hotswap/jobs/012/0123456789abcdef0123-e2-g1'
    """
    return f".hotswap/jobs/{digest[:3]}/{digest}"


def try_of(digest: str) -> tuple[int, int]:
    """Epoch and generation of a job's digest.

    >>> try_of("0123456789abcdef0123-e2-g1")
    (2, 1)
    """
    _, epoch, generation = digest.rsplit("-", 2)
    return int(epoch[1:]), int(generation[1:])


def _digest(*parts: str) -> str:
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
