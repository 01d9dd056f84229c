"""The batch script of a job. Values are exported, quoted once; nothing is pasted into the person's text.

The script is submitted in the job's own folder, ``<workdir>/.hotswap/jobs/…/<key>``, where it keeps
``id``, ``job.log``, ``output`` and, at the very end, ``exit``; an array ``table``, and for each element
``logs/INDEX``, ``out/ELEMENT`` and ``ends/ELEMENT.STATUS``. It holds no absolute path of ours, so that
``hotswap render`` shows exactly what sbatch gets.
"""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import PATH_TYPES, variable
from hotswap_airflow.slurm.retry import SAVED_STATUS
from hotswap_airflow.slurm.states import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotswap_airflow.slurm.array import Array
    from hotswap_airflow.slurm.request import JobRequest

RUNS = "runs"
CANCELLED = "cancelled"
"""The reason of a job that was cancelled before it began, and began before Slurm was told."""
FORWARDED_SIGNALS = "TERM INT HUP USR1 USR2"
"""Not CONT, which comes before TERM: of two that are pending bash runs one trap only."""
_PATIENCE = 120
"""Seconds that a start waits for the lock of an earlier one; servers of files give up a dead client's sooner."""
_NOT_FORWARDED = {*FORWARDED_SIGNALS.split(), "KILL", "STOP", "CHLD", "CONT"}

_HEAD = """\
#!/bin/bash
# Job {job} of workflow {workflow}, run {run}. Written by hotswap.
set -u
key_dir=$SLURM_SUBMIT_DIR
id=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}

# Say who we are before anything else. Another job under the same key has already begun: leave it alone.
new=$key_dir/id.$SLURM_JOB_ID
if [ ! -s "$key_dir/id" ]; then
  printf '%s\\n' "$id" > "$new" &&
    {{ ln "$new" "$key_dir/id" 2> /dev/null || [ -s "$key_dir/id" ] || mv -f "$new" "$key_dir/id"; }}
  rm -f "$new"
fi
known=$(cat "$key_dir/id") || {{ echo "hotswap: the job's folder is not there on $(hostname): $key_dir" >&2; exit 1; }}
[ "$known" = "$id" ] || exit 0
is_wanted() {{
  [ ! -e "$key_dir/cancelled" ] || {{ echo {cancelled} > "$key_dir/reason"; exit 1; }} 2> /dev/null
  # Its end was told, and another try may be at work: a controller that lost its memory begins this again.
  if [ -s "$key_dir/settled" ]; then
    [ ! -s "$key_dir/exit" ] || read -r noted < "$key_dir/exit"
    exit "${{noted:-1}}"
  fi
}}
is_wanted

refuse() {{
  printf 'hotswap: %s\\n' "$1" | tee "$reason" >&2
  return 1
}}

# Whoever listens to this file looks at once; whoever does not, a little later.
tell() {{ echo > "$key_dir/../../../ended"; }} 2> /dev/null

# A controller that died before it wrote down that a job had begun begins it again, beside the first, which holds a
# lock for as long as it lives. What ran before a requeue is over, or soon will be; its lock may be stale.
requeued=${{SLURM_RESTART_COUNT:-0}}
held() {{ exec 9>> "$1" && flock -w "$2" -E 75 9; [ $? -eq 75 ]; }} 2> /dev/null
alone() {{
  mine=$1 before=$1
  if [ "$requeued" -gt 0 ]; then
    mine=$1.$requeued
    [ "$requeued" -eq 1 ] || before=$1.$((requeued - 1))
    ! held "$before" {patience} || echo "hotswap: what ran before the requeue still holds $before; going on" >&2
    # No gap where a start came to nothing: whoever looks for these looks for one after the other.
    : >> "$1"
    for ((start = 1; start < requeued; start++)); do : >> "$1.$start"; done
  fi
  ! held "$mine" {patience} || {{ echo "hotswap: Slurm has begun this twice; waiting for the other one" >&2; flock 9; }}
  is_wanted
  SECONDS=0
}}
# An earlier try that counts as gone may still run where nobody sees it, in its first start or one after a requeue.
is_held() {{ ( flock -w "$2" -E 75 8; [ $? -eq 75 ] ) 8>> "$1"; }} 2> /dev/null
outlive() {{
  log=$1 start=0
  while [ -e "$log" ]; do
    if is_held "$log" 0; then
      echo "hotswap: an earlier try still runs, it holds $log; waiting for it" >&2
      ! is_held "$log" $((SECONDS < {patience} ? {patience} - SECONDS : 1)) ||
        echo "hotswap: it still holds $log; going on" >&2
    fi
    start=$((start + 1))
    log=$1.$start
  done
  is_wanted
}}
# One that did not hear of an end takes the job for lost and requeues it. So what has ended by itself stands; but for
# failures where another node, a signal, or the site's RequeueExit may be the reason.
stands() {{
  [ "$requeued" -gt 0 ] && [ "$1" -ne 0 ] || return 0
  [ "$requeued" -eq 1 ] && [ "${{SLURM_JOB_NUM_NODES:-1}}" -eq 1 ] && [ "$1" -le {signals} ] && [ "$1" -ne {saved} ]
}}

export SLURM_EXPORT_ENV=ALL
export HOTSWAP_RUN_DIR="${{key_dir%/.hotswap/jobs/*}}"/{folder}
export HOTSWAP_ATTEMPT=$(({attempt} + requeued))
"""
_WORK = """
# As a child, so that a signal reaches it at once: bash runs a trap only after a foreground child.
# Its variables are set in the child alone, so that none of them changes what is done here.
child= missed=
forward() {{
  forwarded=yes last_signal=$1
  if [ -n "$child" ]; then kill -s "$1" "$child" 2> /dev/null; else missed=$1; fi
}}
work() {{
{prepare}  (
eval "$row"
{exports}exec "$@"
  ) &
  child=$!
  for signal in {signals}; do trap "forward $signal" "$signal"; done
  forwarded=yes
  # It came when the one before was over, or when this one's number was not known yet.
  [ -z "$missed" ] || forward "$missed"
  missed=
  while [ -n "$forwarded" ]; do forwarded=; wait "$child"; status=$?; done
  child=
  [ "$status" -eq 0 ] || return "$status"
{check}  return 0
}}
enter() {{ cd -- "$HOTSWAP_RUN_DIR" || refuse "the run directory cannot be entered: $HOTSWAP_RUN_DIR"; }}
"""
_SCRIPT = """
# The interpreter of its first line, or bash.
IFS= read -r shebang < {script} || true
set -- /bin/bash
case $shebang in '#!'*)
  read -r program argument <<< "${{shebang#??}}"
  set -- "$program" ${{argument:+"$argument"}} ;;
esac
set -- "$@" {script}
"""
_ONE = """
finish() {{
  # A good end is told by its note alone.
  if ! {{ printf '%s\\n' "$1" > "$key_dir/exit.new" && mv -f "$key_dir/exit.new" "$key_dir/exit"; }}; then
    echo "hotswap: the end cannot be noted, disk or quota full? $key_dir" >&2
    exit $(($1 ? $1 : 1))
  fi
  tell
  exit "$1"
}}
alone "$key_dir/job.log"
for earlier in "${{key_dir%-e*}}"-e*; do [ "$earlier" = "$key_dir" ] || outlive "$earlier/job.log"; done
export HOTSWAP_OUTPUT="$key_dir/output"
if [ -s "$key_dir/exit" ]; then
  noted=$(cat "$key_dir/exit")
  [ "$requeued" -gt 0 ] && [ -e "$key_dir/signalled" ] || ! stands "$noted" || exit "$noted"
{keep}fi
reason=$key_dir/reason
rm -f "$key_dir/exit" "$key_dir/signalled" "$reason"
{output}
row=
enter || finish 1
{command}
work "$@"
ended=$?
[ -z "${{last_signal-}}" ] || : > "$key_dir/signalled"
finish "$ended"
"""
_ELEMENTS = """
# The elements of this array index, one after the other; each notes its end by the name of a file.
has_ended() {{
  for noted in "$key_dir/ends/$1".*; do
    [ -e "$noted" ] && stands "${{noted##*.}}" || continue
    [ "${{noted##*.}}" -eq 0 ] || worst=${{noted##*.}}
    return 0
  done
  return 1
}}
alone "$key_dir/logs/$SLURM_ARRAY_TASK_ID"
for earlier in "${{key_dir%-e*}}"-e*; do
  [ "$earlier" != "$key_dir" ] && {{ read -r _ base < "$earlier/rows"; }} 2> /dev/null || continue
  outlive "$earlier/logs/$(({index} - base))"
done
reason=/dev/null
first=$(({index} * {chunk}))
last=$((first + {chunk} - 1))
[ "$last" -lt {count} ] || last=$(({count} - 1))
enter || exit 1
{command}
worst=0
for ((element = first; element <= last; element++)); do
  row=$(sed -n "$((element + 1)){{p;q}}" "$key_dir/table")
  [ "$row" != - ] || continue
  export HOTSWAP_OUTPUT="$key_dir/out/$element" SWEEP_INDEX=$element SWEEP_COUNT={count}
  # Only what has begun before can have ended: to look through ten thousand ends for each element is a load.
  began=
  for mark in "$HOTSWAP_OUTPUT" "$key_dir/saved/$element"; do [ ! -e "$mark" ] || began=yes; done
  [ -z "$began" ] || ! has_ended "$element" || continue
  # Whoever ends the job, or warns it, ends the elements that have not begun, too; what they saved before stays.
  case ${{last_signal-}} in
    TERM) worst=143; break ;;
{on_warning}  esac
{keep}  [ -z "$began" ] || rm -f "$key_dir/ends/$element".*
  : > "$HOTSWAP_OUTPUT"
{output}  work "$@"
  ended=$?
  # What fails because its job is ended has not failed by itself.
  case ${{last_signal-}}:$ended in TERM:0 | TERM:{status}) ;; TERM:*) ended=143 ;; esac
  : > "$key_dir/ends/$element.$ended" || ended=1
  [ "$ended" -eq 0 ] || worst=$ended
done
rm -f "$key_dir/run.$SLURM_JOB_ID"
tell
exit "$worst"
"""
_ON_WARNING = """\
    {signal})
      # Those that have not begun go on with it.
      for ((; element <= last; element++)); do
        [ "$(sed -n "$((element + 1)){{p;q}}" "$key_dir/table")" != - ] && ! has_ended "$element" || continue
        rm -f "$key_dir/ends/$element".*
        : >> "$key_dir/out/$element" > "$key_dir/ends/$element.{status}"
      done
      worst={status}
      break ;;
"""
_KEEP = """\
  # Saved, then requeued: what it wrote before it saved is kept, what it writes now may come to nothing.
  [ "$noted" -ne {status} ] || mv -f "$HOTSWAP_OUTPUT" "$key_dir/saved" 2> /dev/null
"""
_KEEP_LINES = """\
  [ ! -e "$key_dir/ends/$element.{status}" ] ||
    {{ mkdir -p "$key_dir/saved" && mv -f "$HOTSWAP_OUTPUT" "$key_dir/saved/$element"; }} 2> /dev/null
"""
_SAVED_LINES = """\
  for before in {before}; do
    [ ! -e "$key_dir/../$before/ends/$element.{status}" ] || [ ! -s "$key_dir/../$before/out/$element" ] ||
      cp -f "$key_dir/../$before/out/$element" "$HOTSWAP_OUTPUT" 2> /dev/null
  done
"""
_SAVED_HERE = """\
  [ ! -s "$key_dir/saved/$element" ] || cp -f "$key_dir/saved/$element" "$HOTSWAP_OUTPUT" 2> /dev/null
"""


def render_script(request: JobRequest) -> str:
    """Write the script that sbatch gets for a request."""
    key = request.key
    folder = shlex.quote(f"{RUNS}/{key.run.folder}")
    names = {"job": key.job, "workflow": key.run.workflow, "run": _one_line(key.run.run)}
    work = _WORK.format(
        prepare="".join(f"  {line}\n" for line in _prepare(request)),
        exports="".join(f"export {name}={shlex.quote(value)}\n" for name, value in request.variables),
        check="".join(f"  {line}\n" for line in _check(request)),
        signals=_signals(request),
    )
    numbers = {"patience": _PATIENCE, "signals": SIGNALS, "saved": SAVED_STATUS, "attempt": request.past.starts + 1}
    return "".join(
        [
            _HEAD.format(**names, **numbers, folder=folder, cancelled=CANCELLED),
            *_places(request),
            work,
            _ending(request),
        ]
    )


def _signals(request: JobRequest) -> str:
    """What is forwarded to the script: the usual ones, and the one that Slurm is asked to send."""
    asked = _warning(request)
    return f"{FORWARDED_SIGNALS} {asked}" if asked.isalnum() and asked not in _NOT_FORWARDED else FORWARDED_SIGNALS


def _warning(request: JobRequest) -> str:
    """The signal that Slurm is asked to send before the time is over; empty where it is not."""
    return dict(request.options).get("signal", "").removeprefix("B:").partition("@")[0].removeprefix("SIG")


def _ending(request: JobRequest) -> str:
    command, array, before = _command(request), request.array, request.past.saved
    if array is None:
        saved = ["$key_dir/saved"] if request.saves else []
        saved += [f"$key_dir/../{before[-1]}/output"] if before else []
        kept = "".join(f'cp -f "{file}" "$HOTSWAP_OUTPUT" 2> /dev/null || ' for file in saved)
        return _ONE.format(
            command=command,
            keep=_KEEP.format(status=SAVED_STATUS) if request.saves else "",
            output=f'{kept}: > "$HOTSWAP_OUTPUT"',
        )
    signal = _warning(request) if request.saves else ""
    warning = _ON_WARNING.format(signal=signal, status=SAVED_STATUS) if signal.isalnum() else ""
    earlier = _SAVED_LINES.format(before=" ".join(before), status=SAVED_STATUS) if before else ""
    index = f"({array.base} + SLURM_ARRAY_TASK_ID)" if array.base else "SLURM_ARRAY_TASK_ID"
    return _ELEMENTS.format(
        command=command,
        index=index,
        chunk=array.chunk,
        count=len(array.rows),
        keep=_KEEP_LINES.format(status=SAVED_STATUS) if request.saves else "",
        output=f"{earlier}{_SAVED_HERE}" if request.saves else "",
        on_warning=warning,
        status=SAVED_STATUS,
    )


def render_table(array: Array) -> str:
    """Write the values of an array's elements, a line each; ``-`` is an element that is not run."""
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
    """What is run, as the positional parameters of the shell, which no variable can change."""
    if request.script is not None:
        return _SCRIPT.format(script=shlex.quote(posixpath.join(".", request.script)))
    text = request.text or ""
    end = _heredoc_end(text)
    newline = "" if text.endswith("\n") else "\n"
    name = "run" if request.array is None else "run.$SLURM_JOB_ID"
    # An empty or cut text would run, and end well.
    full = "finish 1" if request.array is None else "exit 1"
    kept = f"cat > \"$key_dir/{name}\" <<'{end}' || {full}\n{text}{newline}{end}\n"
    return f'{kept}set -- /bin/bash -euo pipefail "$key_dir/{name}"\n'


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
