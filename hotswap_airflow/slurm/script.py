"""The batch script of a job. Values are exported, quoted once; nothing is pasted into the person's text.

The script is submitted in the job's own folder, ``<workdir>/.hotswap/jobs/<key>``, where it keeps
``id``, ``job.log``, ``output`` and, at the very end, ``exit``. It holds no absolute path of ours,
so that ``hotswap render`` shows exactly what sbatch gets.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import PATH_TYPES, variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.slurm.request import JobRequest

RUNS = "runs"
FORWARDED_SIGNALS = "TERM INT HUP USR1 USR2 CONT"

_HEAD = """\
#!/bin/bash
# Job {job} of workflow {workflow}, run {run}. Written by hotswap.
set -u
key_dir=$SLURM_SUBMIT_DIR

# Say who we are before anything else. Another job under the same key has already begun: leave it alone.
new=$key_dir/id.$SLURM_JOB_ID
printf '%s\\n' "$SLURM_JOB_ID" > "$new" &&
  {{ ln "$new" "$key_dir/id" 2> /dev/null || [ -s "$key_dir/id" ] || mv -f "$new" "$key_dir/id"; }}
rm -f "$new"
known=$(cat "$key_dir/id") || {{ echo "hotswap: the job's folder is not there on $(hostname): $key_dir" >&2; exit 1; }}
[ "$known" = "$SLURM_JOB_ID" ] || exit 0
[ ! -e "$key_dir/cancelled" ] || exit 1

finish() {{
  printf '%s\\n' "$1" > "$key_dir/exit.new" && mv -f "$key_dir/exit.new" "$key_dir/exit"
  exit "$1"
}}
refuse() {{
  printf 'hotswap: %s\\n' "$1" | tee "$key_dir/reason" >&2
  finish 1
}}

export SLURM_EXPORT_ENV=ALL
export HOTSWAP_RUN_DIR="${{key_dir%/.hotswap/jobs/*}}"/{folder}
export HOTSWAP_OUTPUT="$key_dir/output"
export HOTSWAP_ATTEMPT=$(({attempt} + ${{SLURM_RESTART_COUNT:-0}}))
"""
_START = """
rm -f "$key_dir/exit" "$key_dir/reason"
: > "$HOTSWAP_OUTPUT"
cd -- "$HOTSWAP_RUN_DIR" || refuse "the run directory cannot be entered: $HOTSWAP_RUN_DIR"
"""
_RUN = """
# As a child, so that a signal reaches it at once: bash runs a trap only after a foreground child.
# Its variables are set in the child alone, so that none of them changes what is done here.
(
{exports}exec "$@"
) &
child=$!
forward() {{ forwarded=yes; kill -s "$1" "$child" 2> /dev/null; }}
for signal in {signals}; do trap "forward $signal" "$signal"; done
forwarded=yes
while [ -n "$forwarded" ]; do forwarded=; wait "$child"; status=$?; done
[ "$status" -eq 0 ] || finish "$status"
"""
_SCRIPT = """
# The interpreter of its first line, or bash.
IFS= read -r first < {script} || true
set -- /bin/bash
case $first in '#!'*)
  read -r program argument <<< "${{first#??}}"
  set -- "$program" ${{argument:+"$argument"}} ;;
esac
set -- "$@" {script}
"""


def render_script(request: JobRequest) -> str:
    """Write the script that sbatch gets for a request."""
    key = request.key
    parts = [
        _HEAD.format(
            job=key.job,
            workflow=key.run.workflow,
            run=_one_line(key.run.run),
            folder=shlex.quote(f"{RUNS}/{key.run.folder}"),
            attempt=request.attempt,
        ),
        *_places(request),
        _START,
        *_prepare(request),
        *_command(request),
        *_check(request),
        "finish 0\n",
    ]
    return "".join(parts)


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
        yield f'[ -e "${name}" ] || refuse "the declared input {item.name} is missing: ${name}"\n'
    for output in request.outputs:
        if output.path is not None:
            name = variable("OUTPUT", output.name)
            target = f'"${name}"' if output.type == "dir" else f'"$(dirname -- "${name}")"'
            yield f"mkdir -p -- {target}\n"


def _command(request: JobRequest) -> Iterator[str]:
    if request.script is not None:
        script = shlex.quote(f"./{request.script}")
        yield _SCRIPT.format(script=script)
    else:
        text = request.text or ""
        end = _heredoc_end(text)
        newline = "" if text.endswith("\n") else "\n"
        yield f"cat > \"$key_dir/run\" <<'{end}'\n{text}{newline}{end}\n"
        yield 'set -- /bin/bash -euo pipefail "$key_dir/run"\n'
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in request.variables)
    yield _RUN.format(exports=exports, signals=FORWARDED_SIGNALS)


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
            yield f'[ {test} "${name}" ] || refuse "the declared output {output.name} was not made: ${name}"\n'
