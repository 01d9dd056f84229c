"""Requests to a login node, each in one round trip; answers are values, and refusals are errors."""

from __future__ import annotations

import posixpath
from functools import partial
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote import cancellation, programs, run_folders
from hotswap_airflow.cluster.remote.batching import PACE, Coalescer
from hotswap_airflow.cluster.remote.foreign_rows import ForeignRows
from hotswap_airflow.cluster.remote.framing import (
    MARK,
    NO_PROGRAM,
    answered,
    as_lines,
    in_slices,
    parts,
    sized,
    stdin_after,
)
from hotswap_airflow.cluster.remote.submission import SBATCH_LIMIT, SUBMIT, Submission, item, read_answer
from hotswap_airflow.cluster.transport.base import COMMAND_TIMEOUT, TRANSFER_TIMEOUT
from hotswap_airflow.errors import (
    CommandFailed,
    ConnectionLost,
    SubmissionRefused,
    SubmitLimitReached,
    UnreadableAnswer,
)
from hotswap_airflow.slurm import parsing
from hotswap_airflow.slurm.facts.probe import parse_probe
from hotswap_airflow.slurm.history import notes
from hotswap_airflow.slurm.history.notes import Result
from hotswap_airflow.slurm.identity import NAMES, key_folder, read_keys
from hotswap_airflow.slurm.states import SIGNALS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from hotswap_airflow.cluster.transport.base import Transport
    from hotswap_airflow.slurm.array_state import ElementEnds
    from hotswap_airflow.slurm.facts.probe import ClusterFacts
    from hotswap_airflow.slurm.history.notes import Folder, FolderNote, Members
    from hotswap_airflow.slurm.identity import JobKey
    from hotswap_airflow.slurm.parsing import QueuedJob
    from hotswap_airflow.slurm.request import JobRequest

SUBMISSIONS_AT_ONCE = 20
_EVERYBODY = 10_000
_NOT_FOUND = 127
OUTPUT_LIMIT = 1_000_000
VALUES_LIMIT = 64 << 20
_UNKNOWN = {0, 124}
"""Exit statuses of sbatch after which the job may have been submitted: 0 without an id, 124 when its time was over."""


class ClusterClient:
    """One account on one cluster. ``workdir`` is absolute or below the account's home.

    ``has_push``: jobs note their ends in a file that is watched, in addition to polls. ``pace`` is the number of
    seconds in which requests of one kind wait for each other. ``slurm_cluster`` is Slurm's name of the cluster if one
    login serves several, empty for the login's own cluster.
    """

    def __init__(
        self,
        transport: Transport,
        workdir: str,
        name: str = "the cluster",
        *,
        has_push: bool = False,
        pace: float = PACE,
        slurm_cluster: str = "",
    ) -> None:
        self.transport = transport
        self.workdir = workdir
        self.name = name
        self.has_push = has_push
        self.slurm_cluster = slurm_cluster
        self._home = ""
        self._others: dict[str, ClusterClient] = {}
        self._pace = pace
        self._notes = Coalescer(partial(self._read_and_note, COMMAND_TIMEOUT), pace=pace)
        self._results = Coalescer(partial(self._read_and_note, TRANSFER_TIMEOUT), pace=pace)
        self._submissions = Coalescer(self._submit_all, max_items=SUBMISSIONS_AT_ONCE, at_once=4, pace=pace)
        self._folders = Coalescer(self._lay_out_all, pace=pace)
        self._cancels = Coalescer(partial(cancellation.cancel_all, self), max_items=cancellation.AT_ONCE, pace=pace)
        self._queues = Coalescer(self._queue_for, max_items=_EVERYBODY, at_once=1, pace=pace)
        self.foreign_rows = ForeignRows(self, pace)
        self._looks = Coalescer(partial(cancellation.unfinished, self), max_items=_EVERYBODY, at_once=1, pace=pace)

    def below(self, workdir: str, slurm_cluster: str = "") -> ClusterClient:
        """The same account with another work folder and cluster, over the same connection."""
        return ClusterClient(
            self.transport, workdir, self.name, has_push=self.has_push, pace=self._pace, slurm_cluster=slurm_cluster
        )

    def on(self, slurm_cluster: str) -> ClusterClient:
        """The same account and work folder on the cluster of a name; the client itself if the name is empty."""
        if slurm_cluster in {"", self.slurm_cluster}:
            return self
        if slurm_cluster not in self._others:
            self._others[slurm_cluster] = self.below(self.workdir, slurm_cluster)
        return self._others[slurm_cluster]

    async def home(self) -> str:
        """Slurm's name of the cluster that is used if a command names none; empty if Slurm does not return it."""
        if not self._home:
            self._home = self.slurm_cluster or (await self.run_program(programs.HOME_NAME)).strip()
        return self._home

    async def _ask(
        self,
        program: str,
        *arguments: str,
        stdin: bytes | AsyncIterator[bytes] = b"",
        limit: float = COMMAND_TIMEOUT,
    ) -> bytes:
        """Run one of our programs; give the output between its markers."""
        code = program.encode()
        argv = ("sh", "-c", programs.LOADER, "hotswap", str(len(code)), self.workdir, self.slurm_cluster, *arguments)
        reply = await self.transport.run(argv, stdin_after(code, stdin), limit)
        begin, end = f"\n{programs.BEGIN}\n".encode(), f"\n{programs.END}\n".encode()
        _, found, rest = reply.stdout.partition(begin)
        body, ended, _ = rest.rpartition(end)
        if not found or not ended:
            answer = (reply.stdout + reply.stderr).decode("utf-8", "replace")[-500:]
            raise UnreadableAnswer(self.name, answer, "complete answer")
        if body.startswith(b"away "):
            raise ConnectionLost(f"{self.name}: {body[5:].decode('utf-8', 'replace').strip()}")
        if body.startswith(b"error "):
            raise CommandFailed(f"{self.name}: {body[6:].decode('utf-8', 'replace').strip()}")
        return body

    async def run_program(
        self, program: str, *arguments: str, stdin: bytes = b"", limit: float = COMMAND_TIMEOUT
    ) -> str:
        """Run one of our programs on the login node; give its answer. Raises ``ClusterError``."""
        return (await self._ask(program, *arguments, stdin=stdin, limit=limit)).decode("utf-8", "replace")

    async def find(self, stem: str) -> list[Folder]:
        """Give the folders of all tries of a job."""
        (found,) = await self._notes((f"find {stem}",))
        return [notes.read_folder(line) for line in parsing.lines(found)]

    async def _read_and_note(self, limit: float, items: list[tuple[str, ...]]) -> list[list[str] | Exception]:
        """The answers to the questions of each item; an error for an item if one of its files cannot be read."""
        questions = [question for item in items for question in item]
        body = await self._ask(programs.NOTES, str(OUTPUT_LIMIT), stdin=as_lines(questions), limit=limit)
        answers = list(parts(body))
        if [name.rstrip("!") for name, _ in answers] != [str(number) for number in range(len(questions))]:
            raise UnreadableAnswer(self.name, f"{len(answers)} answers", f"answer for {len(questions)} questions")
        unread = {question for question, (name, _) in zip(questions, answers, strict=True) if name.endswith("!")}
        texts = iter(part.decode("utf-8", "replace") for _, part in answers)
        return [self._answers_to(item, [next(texts) for _ in item], unread) for item in items]

    def _answers_to(self, item: tuple[str, ...], texts: list[str], unread: set[str]) -> list[str] | Exception:
        for question in item:
            if question in unread:
                return ConnectionLost(f"{self.name}: the notes of a job cannot be read: {question}")
        return texts

    async def submit(self, request: JobRequest, asked: str, *, again: bool = False) -> Submission:
        """Find the job of a key or submit it. Raises ``SubmissionRefused``.

        ``again`` repeats a submission whose result was unknown and which squeue and sacct do not know.
        """
        answer = await self._submissions((request, asked, again))
        word, _, rest = answer.partition(" ")
        status, _, words = rest.partition("\n")
        match word.strip():
            case "error":
                raise CommandFailed(f"{self.name}: {rest.strip()}")
            case "later":
                raise ConnectionLost(f"{self.name} is slow; the job is submitted with a later request")
            case "failed" if status.isdecimal():
                return await self._failed(request, int(status), words)
        submission = read_answer(word.strip(), status.strip())
        if submission is None:
            raise UnreadableAnswer(f"sbatch on {self.name}", answer, "result that we know")
        return submission

    async def _failed(self, request: JobRequest, status: int, words: str) -> Submission:
        if status in _UNKNOWN or status > SIGNALS or parsing.outcome_is_unknown(words):
            complaint = parsing.sbatch_words(words) or f"sbatch ended with status {status}"
            return Submission(age=0, words=complaint)
        await self.run_program(programs.RELEASE, request.key.digest)
        if limit := parsing.submit_limit(words):
            raise SubmitLimitReached(f"{self.name} takes no more jobs for now ({limit})")
        shown = parsing.sbatch_words(words) or f"sbatch ended with status {status}"
        if status == _NOT_FOUND:
            raise SubmissionRefused(f"sbatch cannot be run on {self.name} ({shown}); {NO_PROGRAM}")
        if parsing.lacks_configuration(words):
            raise SubmissionRefused(
                f"Slurm's programs on the login node of {self.name} find no configuration ({shown}); set SLURM_CONF or "
                "SLURM_CONF_SERVER for shells without a terminal"
            )
        raise SubmissionRefused(f"{self.name} refused the job: {shown}")

    async def _submit_all(self, items: list[tuple[JobRequest, str, bool]]) -> list[str | Exception]:
        content = b"".join(item(*each, self.slurm_cluster) for each in items)
        body = await self._ask(SUBMIT, stdin=content, limit=SBATCH_LIMIT + COMMAND_TIMEOUT)
        answers = [part.decode("utf-8", "replace") for _, part in parts(body)]
        # If one script cannot be written, the program stops; the remaining items are submitted again.
        return [*answers, *["later"] * (len(items) - len(answers))]

    async def adopt(self, digest: str, job_id: int, cluster: str = "") -> int:
        """Note the id of a job that Slurm knows by the key's name in the key folder; give the id that counts."""
        return int((await self.run_program(programs.ADOPT, digest, str(job_id), cluster)).split()[-1])

    async def status(self, digests: Iterable[str]) -> tuple[list[QueuedJob], dict[str, FolderNote]]:
        """Give all jobs in the queue, and what each folder shows. Raises ``CommandFailed`` if squeue fails."""
        wanted = list(digests)
        answer = await self.run_program(programs.STATUS, parsing.SQUEUE_FORMAT, stdin=as_lines(wanted))
        queue, rest = answered(answer, "squeue", self.name)
        return [row async for row in in_slices(parsing.parse_squeue(queue))], await self._glimpses(wanted, rest)

    async def queue(self) -> list[QueuedJob]:
        """Give all jobs in the queue; concurrent calls share one request. Raises ``CommandFailed`` if squeue fails."""
        return await self._queues(None)

    async def _queue_for(self, items: list[None]) -> list[list[QueuedJob] | Exception]:
        queue, _ = await self.status([])
        return [queue for _ in items]

    async def queue_of_all(self) -> list[QueuedJob]:
        """Give the jobs of all users in the queue that hotswap submitted. Raises ``CommandFailed`` if squeue fails."""
        answer = await self.run_program(programs.QUEUE_OF_ALL, parsing.SQUEUE_FORMAT, NAMES)
        # The last mark is ours; an earlier mark may be part of another user's job name.
        queue, mark, ending = f"\n{answer}".rpartition(MARK)
        answered(f"{mark}{ending}", "squeue", self.name)
        return [row async for row in in_slices(parsing.parse_squeue(queue))]

    async def glimpses(self, digests: Iterable[str]) -> dict[str, FolderNote]:
        """Give what each folder shows, without a request to Slurm."""
        wanted = list(digests)
        return await self._glimpses(wanted, await self.run_program(programs.STATUS, "", stdin=as_lines(wanted)))

    async def _glimpses(self, wanted: list[str], answer: str) -> dict[str, FolderNote]:
        reader = notes.GlimpseReader(self.name)
        async for line in in_slices(parsing.lines(answer)):
            reader.read(line)
        glimpses = reader.glimpses
        if missing := set(wanted) - glimpses.keys():  # a missing line does not mean an empty folder
            raise UnreadableAnswer(self.name, f"nothing about {len(missing)} jobs", f"line for each of {len(wanted)}")
        return glimpses

    async def accounting(
        self, since: str, job_ids: Iterable[int | str] = (), name: str | None = None, *, everybody: bool = False
    ) -> list[QueuedJob]:
        """Request jobs from sacct by id, or by name on any cluster; ``everybody`` includes the jobs of other users.

        Raises ``CommandFailed`` if sacct fails, as it does without accounting.
        """
        which = f"--name={name}" if name else f"--jobs={','.join(map(str, job_ids))}"
        own = f"--clusters={self.slurm_cluster}" if self.slurm_cluster else "--federation"
        whose = f"{'--allclusters' if name else own}{' -a' if everybody else ''}"
        answer = await self.run_program(programs.ACCOUNTING, since, parsing.SACCT_FIELDS, which, whose)
        rows = parsing.parse_sacct(answered(answer, "sacct", self.name)[0])
        return [row async for row in in_slices(rows)]

    async def keys(self, digests: Iterable[str]) -> list[JobKey]:
        """The job keys of digests, by the notes in their folders; a note that cannot be read is left out."""
        return read_keys(await self.run_program(programs.KEYS, stdin=as_lines(digests)))

    async def tails(self, pieces: Iterable[tuple[str, int, int]]) -> dict[str, bytes]:
        """Read pieces of logs: digest, offset and count in bytes."""
        lines = "".join(f"{digest}/job.log {offset} {count}\n" for digest, offset, count in pieces)
        found = sized(await self._ask(programs.TAIL, stdin=lines.encode()))
        return {name.removesuffix("/job.log"): piece for name, piece in found.items()}

    async def element_tails(self, digest: str, indices: Iterable[int], count: int) -> dict[int, bytes]:
        """Read the last bytes of the logs of array indices."""
        lines = "".join(f"{digest}/logs/{index} last {count}\n" for index in indices)
        found = sized(await self._ask(programs.TAIL, stdin=lines.encode()))
        return {int(name.rpartition("/")[2]): piece for name, piece in found.items()}

    async def wait_for_end(self, since: str) -> str:
        """Wait until a job of this account has ended since a moment, at most 40 s; give the time of the newest end."""
        return (await self.run_program(programs.WAIT_FOR_END, since)).strip()

    async def ends(self, digests: Iterable[str]) -> dict[str, ElementEnds]:
        """The ends that the elements of arrays noted, for each digest."""
        answer = await self.run_program(programs.ENDS, stdin=as_lines(digests))
        return notes.read_ends(answer)

    async def members(self, digests: Iterable[str]) -> dict[str, Members]:
        """The elements of submitted arrays, by digest. Raises ``UnreadableAnswer`` if an array has none."""
        answer = await self.run_program(programs.MEMBERS, stdin=as_lines(digests))
        found = notes.read_members(answer)
        if not all(members.elements for members in found.values()):
            raise UnreadableAnswer(f"the tables of arrays on {self.name}", answer[-500:], "line of elements")
        return found

    async def element_values(self, digest: str) -> dict[int, str]:
        """The lines of values that each element of an array wrote. Raises ``CommandFailed`` if they are too long."""
        answer = await self.run_program(programs.VALUES, digest, str(VALUES_LIMIT), limit=TRANSFER_TIMEOUT)
        if len(answer.encode()) >= VALUES_LIMIT:
            raise CommandFailed(f"the elements wrote more than {VALUES_LIMIT >> 20} MiB of values; write files instead")
        return notes.read_element_values(answer)

    async def result(self, digest: str) -> Result:
        """Give what a job left in its folder."""
        requests = tuple(f"read {digest}/{name}" for name in ("exit", "reason", "output"))
        exit_status, reason, output = await self._results(requests)
        return Result(notes.number(exit_status.strip()), reason.strip(), output)

    async def record_end(self, digest: str, words: str) -> None:
        """Record the end of a job in its key folder. Raises ``ConnectionLost`` if it cannot be written."""
        if await self._notes((f"settle {digest} {words}",)) != ["settled"]:
            raise ConnectionLost(f"the end of a job cannot be recorded on {self.name}: disk or quota full?")

    async def cancel(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Cancel the jobs of keys, by digest and name; nothing is submitted under these keys any more.

        Raises ``ConnectionLost`` if the controller is away; repeat the call until it succeeds.
        """
        await self._cancels(tuple(jobs))

    async def unfinished(self) -> Mapping[str, bool]:
        """The names of this account's jobs in the queue, and whether there is something left to cancel.

        Raises ``CommandFailed`` if squeue fails.
        """
        return await self._looks(None)

    async def lay_out(self, folder: str, pack: str) -> str | None:
        """Find or make a run's folder; give its absolute path, or None if the pack must be sent first."""
        word, _, rest = (await self._folders((folder, pack))).partition(" ")
        if word == "error":
            raise CommandFailed(f"{self.name}: {rest}")
        return None if word == "missing" else rest

    async def _lay_out_all(self, items: list[tuple[str, str]]) -> list[str | Exception]:
        each = list(dict.fromkeys(items))  # the jobs of a run request the same folder
        answer = await self.run_program(
            run_folders.LAYOUT, stdin=as_lines(" ".join(item).rstrip() for item in each), limit=TRANSFER_TIMEOUT
        )
        answers = dict(zip(each, parsing.lines(answer), strict=False))
        if len(answers) != len(each):
            raise UnreadableAnswer(self.name, answer[-500:], f"answer for {len(each)} folders")
        return [answers[item] for item in items]

    async def send_pack(self, pack: str, archive: AsyncIterator[bytes]) -> None:
        """Store the files of a pack on the cluster, from a tar archive."""
        await self._ask(run_folders.UNPACK, pack, stdin=archive, limit=TRANSFER_TIMEOUT)

    async def who(self) -> tuple[str, str]:
        """The account's name, and its work folder as an absolute path."""
        user, _, folder = (await self.run_program(programs.WHO)).strip().partition(" ")
        return user, folder

    async def probe(self) -> ClusterFacts:
        """Give the facts that the cluster returns about itself."""
        return parse_probe(await self.run_program(programs.PROBE))

    def key_dir(self, digest: str) -> str:
        """The path of a key folder, as a person would find it."""
        return posixpath.join(self.workdir, key_folder(digest))
