"""A double of Slurm for situations that a real cluster cannot produce on request.

Examples are lost replies, any state of a job, and a clock that is moved forward. The double's programs have the names
of the real programs on PATH, so all of our own code above them is real.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socketserver
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hotswap_airflow.cluster.transport.local import LocalTransport
from hotswap_airflow.slurm.array import indices_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
HOME = "fake"
"""The name of the double's own cluster."""
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
AT_THE_LIMIT = (
    "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: "
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n"
)
NO_CONTROLLER = "{0}: error: Unable to contact slurm controller (connect failure)\n"
_ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL"}
_FIRST = re.compile(r"first=\$\(\((?:\((\d+) \+ )?SLURM_ARRAY_TASK_ID\)? \* (\d+)\)\)")
_SHIM = """\
#!/bin/bash
# In bash, which starts in a fraction of the time that Python needs.
LC_ALL=C
exec 3<> /dev/tcp/127.0.0.1/{port} || exit 1
printf '%s\\0' "$#" "$PWD" "${{0##*/}}" "$@" >&3
read -r status out err <&3
head -c "$out" <&3
read -r -N "$err" said <&3
printf %s "$said" >&2
exit "$status"
"""
Answer = tuple[int, str, str]


@dataclass
class FakeJob:
    """A job of the double, or one index of an array.

    If it was given ``states``, each call of squeue moves it to the next state. Otherwise its script runs.
    """

    job_id: int
    name: str
    folder: str
    array_id: int | None = None
    index: int | None = None
    states: list[str] = field(default_factory=list)
    reason: str = "None"
    ending: str = "0:0"
    by: str = ""
    ended_at: float | None = None
    process: subprocess.Popen[bytes] | None = None
    is_forgotten: bool = False
    node: str = "fake-1"
    cluster: str = ""

    @property
    def state(self) -> str:
        """Slurm's word for its present state."""
        return self.states[0]

    @property
    def shown_id(self) -> str:
        """The id as Slurm prints it."""
        return str(self.job_id) if self.array_id is None else f"{self.array_id}_{self.index}"

    def note_good_end(self) -> None:
        """Write the notes of a good end, as the script would. A job without a folder is not ours and has no notes."""
        folder = Path(self.folder)
        if not self.folder:
            return
        if self.index is None:
            (folder / "exit").write_text("0\n", encoding="utf-8")
        else:
            base, chunk = _FIRST.search((folder / "script").read_text(encoding="utf-8")).groups()  # type: ignore[union-attr]
            rows = (folder / "table").read_text(encoding="utf-8").split("\n")
            first = (int(base or 0) + self.index) * int(chunk)
            for element, row in list(enumerate(rows))[first : first + int(chunk)]:
                if row != "-":
                    (folder / "ends" / f"{element}.0").touch()

    def is_named(self, asked: str) -> bool:
        """Whether an id means this job."""
        return asked in {str(self.job_id), self.shown_id, str(self.array_id)}


class FakeSlurm:
    """The double. Use it as a context manager. Attributes may be set at any time.

    ``is_down``: the controller gives no answer. ``has_accounting``: whether accounting exists. ``accounting_error``:
    the error of sacct if its database is away. ``banner``: text that a wrapped sbatch prints before its answer.
    ``lost_replies``: this many submissions are accepted, but their answers are lost. ``dropped``: this many submissions
    time out and are not accepted. ``refusal``: the reason with which sbatch refuses jobs. ``sbatch_error``: the whole
    error text with which sbatch fails. ``refused_partition``: sbatch refuses jobs of this partition. ``submit_limit``:
    the most active jobs that a user may have. ``outcomes``: state sequences of the next jobs, whose scripts do not run.
    ``nodes``: a job runs on the first node that it does not exclude. ``other_cluster``: the site's sbatch sends jobs to
    a cluster of this name; programs find them there only with ``--clusters``. ``is_other_down``: the controller of that
    cluster gives no answer.
    """

    def __init__(self, folder: Path, min_job_age: float = 300.0) -> None:
        self.folder = folder
        self.min_job_age = min_job_age
        self.jobs: dict[int, FakeJob] = {}
        self.calls: list[list[str]] = []
        self.is_down = False
        self.has_accounting = True
        self.accounting_error = ""
        self.banner = ""
        self.refusal = ""
        self.sbatch_error = ""
        self.refused_partition = ""
        self.submit_limit: int | None = None
        self.lost_replies = 0
        self.dropped = 0
        self.outcomes: list[list[str]] = []
        self.other_cluster = ""
        self.is_other_down = False
        self.nodes = ["fake-1", "fake-2"]
        self._turned = 0.0
        self._lock = threading.RLock()
        self._server: socketserver.ThreadingTCPServer | None = None

    def __enter__(self) -> Self:
        """Write the programs and start to answer their calls."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _handler(self._answer))
        self._server.daemon_threads = True
        for name in PROGRAMS:
            shim = programs / name
            shim.write_text(_SHIM.format(port=self._server.server_address[1]), encoding="utf-8")
            shim.chmod(0o755)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering, and kill the scripts that still run."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for job in self.jobs.values():
            _kill(job)

    @property
    def transport(self) -> LocalTransport:
        """A transport that runs the double's programs."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return LocalTransport({"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(home)})

    def clock(self) -> float:
        """The time in seconds since 1970, moved by ``advance``."""
        return time.time() + self._turned

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._turned += seconds

    def forget(self, job_id: int) -> None:
        """Lose a job without a trace, as if a controller lost its state."""
        with self._lock:
            _kill(self.jobs[job_id])
            self.jobs[job_id].is_forgotten = True

    def _answer(self, argv: Sequence[str], cwd: str) -> Answer:
        with self._lock:
            self.calls.append(list(argv))
            if self.is_down:
                return 1, "", NO_CONTROLLER.format(argv[0])
            for job in self.jobs.values():
                self._note_end(job)
            options = _options(argv[1:])
            if self.is_other_down and options.get("clusters"):
                return 1, "", NO_CONTROLLER.format(argv[0])
            programs: dict[str, Callable[[dict[str, str], str], Answer]] = {
                "sbatch": self._sbatch,
                "squeue": self._squeue,
                "sacct": self._sacct,
                "scancel": self._scancel,
                "scontrol": lambda _options, _cwd: (0, f"ClusterName             = {HOME}\n", ""),
            }
            return programs[argv[0]](options, cwd)

    def _note_end(self, job: FakeJob) -> None:
        if job.process is not None and job.state == "RUNNING":
            status = job.process.poll()
            if status is not None:
                job.states = ["COMPLETED" if status == 0 else "FAILED"]
                job.ending = f"{status}:0" if status >= 0 else f"0:{-status}"
        if job.state in _ENDED and job.ended_at is None:
            job.ended_at = self.clock()
            if job.process is None and job.state == "COMPLETED":
                job.note_good_end()

    def _sbatch(self, options: dict[str, str], cwd: str) -> Answer:
        excluded = options.get("exclude", "").split(",")
        free = [node for node in self.nodes if node not in excluded]
        if self.sbatch_error:
            return 1, "", self.sbatch_error
        if refused := self._refused(options, free):
            return 1, "", refused
        if self.dropped > 0:
            self.dropped -= 1
            return 1, "", TIMED_OUT
        first = len(self.jobs) + 1
        asked = len(indices_in(f"0_[{options['array']}]")) if "array" in options else 1
        active = sum(job.state not in _ENDED for job in self.jobs.values())
        if self.submit_limit is not None and active + asked > self.submit_limit:
            return 1, "", AT_THE_LIMIT
        indices = indices_in(f"{first}_[{options['array']}]") if "array" in options else [None]
        for number, index in enumerate(indices, first):
            array_id = None if index is None else first
            job = self.jobs[number] = FakeJob(number, options["job-name"], cwd, array_id, index, node=free[0])
            job.cluster = self.other_cluster or options.get("clusters", "")
            if self.outcomes:
                job.states = self.outcomes.pop(0)
            else:
                job.states = ["RUNNING"]
                job.process = _run_script(job, options)
        if self.lost_replies > 0:
            self.lost_replies -= 1
            return 1, "", TIMED_OUT
        where = f";{self.jobs[first].cluster}" if self.jobs[first].cluster else ""
        return 0, f"{self.banner}{first}{where}\n", ""

    def _refused(self, options: dict[str, str], free: Sequence[str]) -> str:
        if self.refused_partition and options.get("partition") == self.refused_partition:
            return "sbatch: error: invalid partition specified\n"
        reason = self.refusal if free else "Requested node configuration is not available"
        return f"sbatch: error: Batch job submission failed: {reason}\n" if reason else ""

    def _squeue(self, options: dict[str, str], _cwd: str) -> Answer:
        cluster = options.get("clusters", "")
        known = [job for job in self.jobs.values() if self._is_in_queue(job) and job.cluster == cluster]
        ids, names = (options[word].split(",") if word in options else None for word in ("jobs", "name"))
        lines = [
            f"{job.shown_id}|{job.state}|{job.reason}|{job.node}|{job.name}\n"
            for job in known
            if (ids is None or any(map(job.is_named, ids))) and (names is None or job.name in names)
        ]
        for job in self.jobs.values():
            if len(job.states) > 1:
                job.states.pop(0)
        if ids is not None and len(ids) == 1 and not any(job.is_named(ids[0]) for job in known):
            return 1, "", "slurm_load_jobs error: Invalid job id specified\n"
        return 0, "".join(lines), ""

    def _is_in_queue(self, job: FakeJob) -> bool:
        age = self.clock() - job.ended_at if job.ended_at is not None else 0.0
        return not job.is_forgotten and age <= self.min_job_age

    def _sacct(self, options: dict[str, str], _cwd: str) -> Answer:
        if self.accounting_error:
            return 1, "", f"{self.accounting_error}\n"
        if not self.has_accounting:
            return 1, "", "Slurm accounting storage is disabled\n"
        asked, names = (set(options.get(word, "").split(",")) for word in ("jobs", "name"))
        lines = []
        for job in self.jobs.values():
            is_asked = "allclusters" in options or job.cluster == options.get("clusters", "")
            if is_asked and not job.is_forgotten and (any(map(job.is_named, asked)) or job.name in names):
                state = f"{job.state} by {job.by}" if job.by else job.state
                lines.append(f"{job.shown_id}|{state}|{job.ending}|{job.node}|{job.cluster}|{job.name}\n")
        return 0, "".join(lines), ""

    def _scancel(self, options: dict[str, str], _cwd: str) -> Answer:
        for job in self.jobs.values():
            is_meant = job.name == options.get("name") or any(map(job.is_named, options[""].split()))
            if is_meant and job.state not in _ENDED and job.cluster == options.get("clusters", ""):
                _kill(job)
                job.states, job.by, job.ending = ["CANCELLED"], str(os.getuid()), "0:15"
                job.ended_at = self.clock()
        return 0, "", ""


def _handler(answer: Callable[[Sequence[str], str], Answer]) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            count = int(self._word())
            cwd, *argv = [self._word() for _ in range(count + 2)]
            status, *said = answer(argv, cwd)
            out, err = (text.encode("utf-8", "surrogateescape") for text in said)
            self.wfile.write(f"{status} {len(out)} {len(err)}\n".encode() + out + err)

        def _word(self) -> str:
            word = bytearray()
            while (byte := self.rfile.read(1)) not in {b"", b"\0"}:
                word += byte
            return word.decode("utf-8", "surrogateescape")

    return Handler


def _options(argv: Sequence[str]) -> dict[str, str]:
    """The long options of a command line. Key "" holds its other words; short options are left out."""
    pairs = (word[2:].partition("=") for word in argv if word.startswith("--"))
    return {name: value for name, _, value in pairs} | {"": " ".join(word for word in argv if word[:1] != "-")}


def _run_script(job: FakeJob, options: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "SLURM_JOB_ID": str(job.job_id),
        "SLURM_SUBMIT_DIR": job.folder,
        "SLURM_WORKING_CLUSTER": f"{job.cluster or HOME}:127.0.0.1:6817:9728:109",
    }
    if job.array_id is not None:
        environment |= {"SLURM_ARRAY_JOB_ID": str(job.array_id), "SLURM_ARRAY_TASK_ID": str(job.index)}
    output = options["output"].replace("%a", str(job.index))
    command = f"exec bash script >> {shlex.quote(output)} 2>&1"
    return subprocess.Popen(["sh", "-c", command], cwd=job.folder, env=environment, start_new_session=True)


def _kill(job: FakeJob) -> None:
    if job.process is not None and job.process.poll() is None:
        os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()
