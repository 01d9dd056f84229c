"""The shell text that puts a job's command into its environment: modules, a container, one start for each task.

A container may get nothing of the environment outside. So a file hands the job's variables over: ``enter`` in the key
folder exports them inside and then runs the command. ``task`` is what each task of an ``srun`` runs.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hotswap_airflow.slurm.request import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.slurm.request import Container, JobRequest

_MODULES = """\
set +u
if ! command -v module > /dev/null; then
  for file in "${{MODULESHOME:-/usr/share/modules}}/init/bash" "${{LMOD_PKG:-/usr/share/lmod/lmod}}/init/bash" \\
      /etc/profile.d/modules.sh /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh; do
    [ ! -r "$file" ] || {{ . "$file"; break; }}
  done
fi
command -v module > /dev/null || refuse "there is no command \\`module\\` on $(hostname)" || exit 1
for name in {modules}; do
  module load "$name" || refuse "the module $name cannot be loaded on $(hostname)" || exit 1
done
set -u
"""
_TASK = """\
cat > {file} <<'END_OF_TASK' || {full}
{text}END_OF_TASK
"""
_BEGIN_TASK = """\
# Only the first task gives values.
[ "${SLURM_PROCID:-0}" = 0 ] || unset HOTSWAP_OUTPUT
"""
_APPTAINER = """\
key_dir=$1 enter=$2 given=()
shift 2
while read -r name; do given+=("$name=${{!name}}"); done < <(compgen -e SLURM_)
exec apptainer exec --bind "$HOTSWAP_RUN_DIR" --bind "$key_dir" {binds}--pwd "$HOTSWAP_RUN_DIR" {image} \\
  /bin/sh "$enter" "${{given[@]}}" -- "$@"
"""
_SRUN = """\
[ -z "${SLURM_CPUS_PER_TASK-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
"""
_ENTER = """\
{{
  for HOTSWAP__NAME in {names}; do
    [ -z "${{!HOTSWAP__NAME+x}}" ] ||
      printf "export %s='%s'\\n" "$HOTSWAP__NAME" "${{!HOTSWAP__NAME//$HOTSWAP__QUOTE/$HOTSWAP__QUOTED}}"
  done
  printf %s {text}
}} > {file} || exit 1
"""
_BEFORE_ENTER = """\
HOTSWAP__QUOTE="'" HOTSWAP__QUOTED="'\\''"
"""
_INSIDE = """\
while [ "$1" != -- ]; do export "$1"; shift; done
shift
"""


def load_modules(request: JobRequest) -> str:
    """Load the modules of a job in the shell that its command replaces; an empty text if it has none."""
    if not request.modules:
        return ""
    return _MODULES.format(modules=" ".join(map(shlex.quote, request.modules)))


def launch(request: JobRequest) -> str:
    """Extend the command, which is in the positional parameters, so that it runs in a container or once a task."""
    file, enter = _file(request, "task"), _file(request, "enter")
    full = "finish 1" if request.array is None else "exit 1"
    task, arguments = _BEGIN_TASK + 'exec "$@"\n', ""
    if request.container is not None:
        task, arguments = _apptainer(request.container), f'"$key_dir" {enter} '
    elif request.launch == "script":
        return ""
    srun = "srun --kill-on-bad-exit=1 " if request.launch == "srun" else ""
    prepared = _TASK.format(file=file, text=task, full=full) + (_SRUN if srun else "")
    return f'{prepared}set -- {srun}/bin/bash {file} {arguments}"$@"\n'


def exports(request: JobRequest) -> Iterator[str]:
    """The lines that give a job its variables, one variable each."""
    yield from (f"export {name}={shlex.quote(value)}\n" for name, value in request.variables)
    yield from (f'export {name}="${{{other}-}}"\n' for name, other in request.aliases)


def hand_over(request: JobRequest) -> str:
    """Give the job its variables. In a container they are exported inside alone, by a file that is written here.

    The host keeps its own, such as its ``PATH``, by which it finds the container's program. What is known only now,
    such as the values of an element, has names that no file can set.
    """
    if request.container is None:
        return "".join(exports(request))
    names = ["HOTSWAP_RUN_DIR", "HOTSWAP_ATTEMPT", "HOTSWAP_OUTPUT"]
    names += [variable("INPUT", item.name) for item in request.inputs]
    names += [variable("OUTPUT", output.name) for output in request.outputs if output.path is not None]
    if request.array is not None:
        names += ["SWEEP_INDEX", "SWEEP_COUNT", *(variable("SWEEP", name) for name in request.array.variables)]
    secrets = '. "${0%/*}/secrets" || exit 1\n' if request.secrets else ""
    text = f'{_INSIDE}{secrets}{"".join(exports(request))}{_BEGIN_TASK}exec "$@"\n'
    written = _ENTER.format(names=" ".join(names), text=shlex.quote(text), file=_file(request, "enter"))
    return _BEFORE_ENTER + written


def _file(request: JobRequest, name: str) -> str:
    """A file of one start: each index of an array has its own."""
    return f'"$key_dir/{name}"' if request.array is None else f'"$key_dir/{name}.$SLURM_JOB_ID"'


def _apptainer(container: Container) -> str:
    binds = "".join(f"--bind {shlex.quote(bind)} " for bind in container.binds)
    return _APPTAINER.format(binds=binds, image=shlex.quote(container.image))
