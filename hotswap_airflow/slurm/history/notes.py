"""Read the notes in key folders, as our programs on the login node return them. Text in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hotswap_airflow.errors import UnreadableAnswer
from hotswap_airflow.slurm.array_state import ElementEnds
from hotswap_airflow.slurm.history.past import End, Try
from hotswap_airflow.slurm.identity import try_of
from hotswap_airflow.slurm.parsing import lines

_GLIMPSE_FIELDS = 5
_END = re.compile(r"([0-9]+)\.([0-9]+)(s?)")


@dataclass(frozen=True)
class Folder:
    """The key folder of one try of a job: the job's id, the other notes of the try, and the cluster if it was noted."""

    digest: str
    job_id: int | None
    tried: Try
    cluster: str = ""


@dataclass(frozen=True)
class Members:
    """The elements that an array was submitted with, and the index that Slurm's index 0 stands for."""

    base: int
    elements: frozenset[int]


@dataclass(frozen=True)
class FolderNote:
    """What a key folder shows: the script's exit status, its log's size in bytes, the job's id, whether a signal came.

    ``cluster`` is the cluster on which the job is; empty if it was not noted.
    """

    exit_status: int | None
    log_size: int
    job_id: int | None
    signalled: bool = False
    cluster: str = ""


@dataclass(frozen=True)
class Result:
    """What a job left: its exit status, the reason why it refused to start or to end, and the lines of its values."""

    exit_status: int | None
    reason: str
    output: str


class GlimpseReader:
    """Reads what key folders show, line by line, because there may be thousands of folders."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._sizes: dict[str, int] = {}
        self._fields: list[list[str]] = []

    def read(self, line: str) -> None:
        """Take one line: the notes of a folder, or the size of its log. Raises ``UnreadableAnswer``."""
        name, *numbers = line.split() or [""]
        if name.endswith("/job.log") and len(numbers) == 1:
            self._sizes[name.split("/")[1]] = int(numbers[0])
        elif name and len(numbers) == _GLIMPSE_FIELDS - 1:
            self._fields.append([name, *numbers])
        elif name:
            source = f"the look into folders on {self._cluster}"
            raise UnreadableAnswer(source, line, f"line of {_GLIMPSE_FIELDS} fields")

    @property
    def glimpses(self) -> dict[str, FolderNote]:
        """What each folder shows, by digest."""
        return {
            digest: FolderNote(
                number(exit_status), self._sizes.get(digest, 0), number(job_id), signalled != "-", cluster.strip("-")
            )
            for digest, exit_status, job_id, signalled, cluster in self._fields
        }


def read_folder(line: str) -> Folder:
    """The key folder of a try, from one line of fields."""
    digest, job_id, cluster, cancelled, asked, rows, adopt, void, settled = line.split("|", 8)
    tried = Try(
        *try_of(digest),
        is_cancelled=bool(cancelled),
        asked=asked,
        rows=rows,
        end=End.read(settled),
        adopt=adopt,
        is_void=bool(void),
    )
    return Folder(digest, number(job_id), tried, cluster)


def read_ends(text: str) -> dict[str, ElementEnds]:
    """The ends of elements by digest, from lines ``digest ELEMENT.STATUS …``.

    >>> read_ends("ab 0.0 1.3 2.0s")["ab"]
    ElementEnds(statuses={0: 0, 1: 3, 2: 0}, stopped=frozenset({2}))
    """
    found = {}
    for line in lines(text):
        digest, *names = line.split()
        ends = [(int(end[1]), int(end[2]), end[3]) for end in map(_END.fullmatch, names) if end is not None]
        statuses = {element: status for element, status, _ in ends}
        found[digest] = ElementEnds(statuses, frozenset(element for element, _, mark in ends if mark))
    return found


def read_members(text: str) -> dict[str, Members]:
    """The elements of arrays by digest, from lines ``digest BASE ELEMENT …``."""
    found = {}
    for line in filter(str.strip, lines(text)):
        digest, base, *elements = line.split()
        found[digest] = Members(int(base), frozenset(map(int, elements)))
    return found


def read_element_values(text: str) -> dict[int, str]:
    r"""What each element wrote, from lines ``ELEMENT:key=value``.

    >>> read_element_values("0:v=a\x0c1:v=b\n1:v=c\n")
    {0: 'v=a\x0c1:v=b\n', 1: 'v=c\n'}
    """
    found: dict[int, str] = {}
    for line in lines(text):
        element, colon, words = line.partition(":")
        if colon and element.isdecimal():
            found[int(element)] = f"{found.get(int(element), '')}{words}\n"
    return found


def number(text: str) -> int | None:
    """The number in a note; None if the note holds no number."""
    return int(text) if text.isascii() and text.isdigit() else None
