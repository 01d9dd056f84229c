"""The batch script of a job. Values are exported, each quoted once; nothing is inserted into the user's own text.

The script is submitted in the key folder, ``<workdir>/.hotswap/jobs/…/<key>``. There it keeps ``id``, ``job.log``,
``output`` and, at the very end, ``exit``. An array keeps ``table``, for each index ``logs/INDEX``, and for each element
``out/ELEMENT`` and ``ends/ELEMENT.STATUS``, with an ``s`` after a 0 that followed SIGTERM.
The script holds no absolute path of ours, so that ``hotswap render`` shows exactly what sbatch gets.
"""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import PATH_TYPES, variable
from hotswap_airflow.slurm.retry import SAVED_STATUS
from hotswap_airflow.slurm.script import parts
from hotswap_airflow.slurm.script.launch import hand_over, launch, load_modules
from hotswap_airflow.slurm.states import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotswap_airflow.slurm.array import Array
    from hotswap_airflow.slurm.request import JobRequest

RUNS = "runs"
CANCELLED = "cancelled"
"""The reason that a job notes if it was cancelled before it began, but began before Slurm knew that."""
FORWARDED_SIGNALS = "TERM INT HUP USR1 USR2"
"""CONT is left out because it comes before TERM: if two signals are pending, bash runs only one trap."""
_PATIENCE = 120
"""Seconds that a start waits for the lock of an earlier start; file servers release a dead client's lock sooner."""
_DOUBT = 0.5
"""Seconds after which a signal to all processes of a job has reached each of them."""
_NOT_FORWARDED = {*FORWARDED_SIGNALS.split(), "KILL", "STOP", "CHLD", "CONT"}


def render_script(request: JobRequest) -> str:
    """Write the script that sbatch gets for a request."""
    key = request.key
    folder = shlex.quote(f"{RUNS}/{key.run.folder}")
    names = {"job": key.job, "workflow": key.run.workflow, "run": _one_line(key.run.run)}
    work = parts.WORK.format(
        prepare="".join(f"  {line}\n" for line in _prepare(request)),
        modules=load_modules(request),
        secrets='. "$key_dir/secrets" || exit 1\n' if request.secrets and request.container is None else "",
        hand_over=hand_over(request),
        check="".join(f"  {line}\n" for line in _check(request)),
        signals=_signals(request),
        doubt=_DOUBT,
    )
    numbers = {"patience": _PATIENCE, "signals": SIGNALS, "saved": SAVED_STATUS, "attempt": request.past.starts + 1}
    return "".join(
        [
            parts.HEAD.format(**names, **numbers, folder=folder, cancelled=CANCELLED),
            parts.PUBLISH if any(output.publish is not None for output in request.outputs) else "",
            *_places(request),
            work,
            _ending(request),
        ]
    )


def _signals(request: JobRequest) -> str:
    """The signals that are forwarded to the script: the usual ones, and the signal that Slurm is requested to send."""
    signal = _warning(request)
    return f"{FORWARDED_SIGNALS} {signal}" if signal.isalnum() and signal not in _NOT_FORWARDED else FORWARDED_SIGNALS


def _warning(request: JobRequest) -> str:
    """The signal that Slurm is requested to send before the time is over; empty if there is none."""
    return dict(request.options).get("signal", "").removeprefix("B:").partition("@")[0].removeprefix("SIG")


def _ending(request: JobRequest) -> str:
    command, array, before = _command(request) + launch(request), request.array, request.past.saved
    if array is None:
        saved = ["$key_dir/saved"] if request.saves else []
        saved += [f"$key_dir/../{before[-1]}/output"] if before else []
        kept = "".join(f'cp -f "{file}" "$HOTSWAP_OUTPUT" 2> /dev/null || ' for file in saved)
        return parts.ONE.format(
            command=command,
            keep=parts.KEEP.format(status=SAVED_STATUS) if request.saves else "",
            output=f'{kept}: > "$HOTSWAP_OUTPUT"',
        )
    signal = _warning(request) if request.saves else ""
    warning = parts.ON_WARNING.format(signal=signal, status=SAVED_STATUS) if signal.isalnum() else ""
    earlier = parts.SAVED_LINES.format(before=" ".join(before), status=SAVED_STATUS) if before else ""
    index = f"({array.base} + SLURM_ARRAY_TASK_ID)" if array.base else "SLURM_ARRAY_TASK_ID"
    return parts.ELEMENTS.format(
        command=command,
        index=index,
        chunk=array.chunk,
        count=len(array.rows),
        keep=parts.KEEP_LINES.format(status=SAVED_STATUS) if request.saves else "",
        output=f"{earlier}{parts.SAVED_HERE}" if request.saves else "",
        on_warning=warning,
        status=SAVED_STATUS,
    )


def render_secrets(request: JobRequest) -> str:
    """Write the file that exports the values of a job's secrets. It is kept apart from the script."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in request.secret_values)


def render_table(array: Array) -> str:
    """Write the values of an array's elements, one line for each; ``-`` means an element that is not run."""
    names = [variable("SWEEP", name) for name in array.variables]
    return "".join(f"{_line(names, row) if array.is_wanted(e) else '-'}\n" for e, row in enumerate(array.rows))


def _line(names: list[str], row: Sequence[str] | None) -> str:
    return " ".join(["export", *(f"{name}={_in_a_line(text)}" for name, text in zip(names, row or (), strict=True))])


def _in_a_line(text: str) -> str:
    """Quote a text for bash so that it needs no line break."""
    if "\n" not in text and "\r" not in text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"$'{escaped}'"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _places(request: JobRequest) -> Iterator[str]:
    for item in request.inputs:
        yield f"export {variable('INPUT', item.name)}={_place(item.path)}\n"
    for output in request.outputs:
        if output.path is not None:
            yield f"export {variable('OUTPUT', output.name)}={_place(output.path)}\n"


def _place(path: str) -> str:
    return shlex.quote(path) if path.startswith("/") else f'"$HOTSWAP_RUN_DIR"/{shlex.quote(path)}'


def _prepare(request: JobRequest) -> Iterator[str]:
    for item in request.inputs:
        name = variable("INPUT", item.name)
        yield f'[ -e "${name}" ] || refuse "the declared input {item.name} is missing: ${name}" || return'
    for output in request.outputs:
        if output.path is not None:
            name = variable("OUTPUT", output.name)
            target = f'"${name}"' if output.type == "dir" else f'"$(dirname -- "${name}")"'
            yield f"mkdir -p -- {target}"


def _command(request: JobRequest) -> str:
    """The command to run, as the positional parameters of the shell, which no variable can change."""
    if request.script is not None:
        return parts.SCRIPT.format(script=shlex.quote(posixpath.join(".", request.script)))
    text = request.text or ""
    end = _heredoc_end(text)
    newline = "" if text.endswith("\n") else "\n"
    name = "run" if request.array is None else "run.$SLURM_JOB_ID"
    # An empty or cut text would run and end well, so the script ends if the text cannot be written.
    full = "finish 1" if request.array is None else "exit 1"
    kept = f"cat > \"$key_dir/{name}\" <<'{end}' || {full}\n{text}{newline}{end}\n"
    if request.shell:
        return f'{kept}set -- {shlex.join(request.shell)} "$key_dir/{name}"\n'
    # The options are set as if by the script's own first line: bash reads BASH_ENV, such as a site's modules, before.
    return f"""{kept}set -- /bin/bash -c 'set -euo pipefail; . "$0"' "$key_dir/{name}"\n"""


def _heredoc_end(text: str) -> str:
    lines = set(text.split("\n"))
    end = "END_OF_RUN"
    while end in lines:
        end += "_"
    return end


def _check(request: JobRequest) -> Iterator[str]:
    for output in request.outputs:
        if output.type in PATH_TYPES:
            name = variable("OUTPUT", output.name)
            test = "-d" if output.type == "dir" else "-f"
            yield f'[ {test} "${name}" ] || refuse "the declared output {output.name} was not made: ${name}" || return'
    published = [output for output in request.outputs if output.publish is not None]
    for output in published:
        name = output.name
        yield f'publish {name} "${variable("OUTPUT", name)}" {shlex.quote(output.publish or "")} || return'
