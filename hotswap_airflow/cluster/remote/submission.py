"""Submission: the program that finds a job or submits it once, its input, and the answer that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotswap_airflow.cluster.remote.programs import PROLOGUE
from hotswap_airflow.slurm.script.render import render_script, render_table

if TYPE_CHECKING:
    from hotswap_airflow.slurm.request import JobRequest

SBATCH_LIMIT = 45
"""Seconds that sbatch may take before it is ended; its result is then unknown."""


@dataclass(frozen=True)
class Submission:
    """The result of a submission: a job, or the reason why there is none yet.

    ``age`` is the number of seconds since the start of a submission whose result is not known. ``is_outdated``: a later
    try, after a clear, has requested the job meanwhile. ``cluster`` is where the job is, empty if it is the cluster to
    which the request was sent. ``words`` is the output of sbatch if it leaves open whether sbatch took the job.
    """

    job_id: int | None = None
    cluster: str = ""
    is_new: bool = False
    is_cancelled: bool = False
    is_outdated: bool = False
    age: int | None = None
    words: str = ""


def sbatch_argv(request: JobRequest, slurm_cluster: str) -> tuple[str, ...]:
    """The sbatch command line of a request for a cluster; without a name it goes to the login's own cluster.

    Slurm needs its accounting database to know clusters by name.
    """
    program, *rest = request.argv
    return (program, *((f"--clusters={slurm_cluster}",) if slurm_cluster else ()), *rest)


def item(request: JobRequest, asked: str, again: bool, slurm_cluster: str = "") -> bytes:  # noqa: FBT001 - of a batch
    """One item of the program's input: the number of words, the words one a line, the script, the table, a dot."""
    script = render_script(request).encode()
    table = render_table(request.array).encode() if request.array is not None else b""
    rows = f"{request.rows} {request.array.base}" if request.array is not None else ""
    mode, sizes = "again" if again else "find", (str(len(script)), str(len(table)))
    head = (request.key.digest, mode, asked, request.key.to_json(), str(SBATCH_LIMIT), *sizes, rows)
    words = (*head, *sbatch_argv(request, slurm_cluster))
    return f"{len(words)}\n".encode() + "".join(f"{word}\n" for word in words).encode() + script + table + b".\n"


def read_answer(word: str, number: str) -> Submission | None:
    """The result of a submission that sbatch did not refuse; None if the word is not known."""
    match word:
        case "found" | "submitted" if (job := number.partition(" "))[0].isdecimal():
            return Submission(int(job[0]), job[2], is_new=word == "submitted")
        case "cancelled":
            return Submission(is_cancelled=True)
        case "outdated":
            return Submission(is_outdated=True)
        case "busy":
            return Submission(age=0)
        case "orphaned" if number.lstrip("-").isdecimal():
            return Submission(age=int(number))
    return None


SUBMIT = (
    PROLOGUE
    + """\
# Find the jobs of keys, or submit them: each once, however many processes request it and whatever dies in between. The
# start of a program costs more than all else here, so the shell does what it can by itself.
reply() { printf '%s\\n' "$*"; exit 0; }
# If the queue is full, sbatch sleeps and tries again for two minutes, which would delay all other jobs: it is ended in
# its first sleep. If Slurm has accepted the job all the same, the job that begins first counts.
call_sbatch() {
  [ ! -e full ] || rm -f full
  : > status
  : > refusal
  {
    timeout "$limit" "$@" 2>&1 > answer < /dev/null &
    echo "$!" > pid
    wait "$!"
    echo "$?" > status
  } | while IFS= read -r line; do
    printf '%s\\n' "$line" >> refusal
    case $line in *'sleeping and retrying'*) : > full && kill "$(cat pid)" 2> /dev/null ;; esac
  done
  status=
  read -r status < status
  [ ! -e full ] || [ "$status" = 0 ] || status=1
}
submit() {
  digest=$1 mode=$2 asked=$3 key=$4 limit=$5 table=$7 rows=$8; shift 8
  set_dir "$digest"
  # Usually both folders are missing.
  { [ -d "${dir%/*}" ] || mkdir -p -- "$dir"; } 2> /dev/null && cd -- "${dir%/*}" ||
    reply "error the job's folder cannot be made: $(mkdir -p -- "$dir" 2>&1)"
  # If a later try of the same task, after a clear, has requested the job, this request is outdated.
  for other in "${digest%-e*}"-e*; do
    case $other in "${digest%-g*}"-g* | *'*') continue ;; esac
    last=$(last_line "$other/asked")
    [ "${last%% *}" -le "${asked%% *}" ] 2> /dev/null || [ -z "$last" ] || reply outdated
  done
  [ -d "$digest" ] || mkdir -- "$digest" 2> /dev/null || [ -d "$digest" ] ||
    reply "error the job's folder cannot be made: $(mkdir -- "$digest" 2>&1)"
  cd -- "$digest" || reply "error the job's folder cannot be entered"
  # A job that has its notes already needs no room on a full disk, and loses no note.
  [ -s key ] || { printf '%s\\n' "$key" > "key.$$" && mv -f "key.$$" key; } ||
    { rm -f "key.$$"; reply "error $no_room"; }
  [ -s asked ] && [ "$(last_line asked)" = "$asked" ] || printf '%s\\n' "$asked" >> asked || reply "error $no_room"
  [ ! -e cancelled ] || reply cancelled
  reply_job() { read_cluster .; read -r id < id; reply "$1 $id${where:+ $where}"; }
  [ ! -s id ] || reply_job found
  # This shell and its sbatch hold the lock on this host while they run. If a file system has no locks, `began` decides.
  exec 9>> lock
  flock -n -E 75 9
  [ $? -ne 75 ] || reply busy
  [ ! -s id ] || reply_job found
  if [ "$mode" = again ]; then
    : > began
  else
    set -C
    # `:` would end the shell if the file exists.
    { true > began; } 2> /dev/null || { touch now; reply "orphaned $(($(stat -c %Y now) - $(stat -c %Y began)))"; }
    set +C
  fi
  mv -f "$part.script" script || reply "error the job's script cannot be written: disk or quota full?"
  if [ "$table" -gt 0 ]; then
    printf '%s\\n' "$rows" > rows && mv -f "$part.table" table && mkdir -p logs out ends ||
      reply "error the job's values cannot be written: disk or quota full?"
  fi
  call_sbatch "$@"
  # Take the last line that is a number, or a number, `;` and the cluster's name.
  id=
  while read -r line || [ -n "$line" ]; do
    case $line in *[!A-Za-z0-9_.\\;-]*) continue ;; esac
    case ${line%%;*} in '' | 0* | *[!0-9]*) ;; *) id=${line%%;*} named=${line#"$id"} ;; esac
  done < answer
  if [ "$status" -eq 0 ] && [ -n "$id" ]; then
    # A site's sbatch may send jobs to another cluster; the cluster that the job itself has noted counts more.
    named=${named#;}
    [ -z "$named" ] || [ "$named" = "$cluster" ] || [ -s cluster ] || printf '%s\\n' "$named" > cluster
    record_id "$id"
    read_cluster .
    # The job was cancelled while sbatch ran.
    [ ! -e cancelled ] || (cluster=${where:-$cluster}; slurm scancel --quiet "$id" > /dev/null 2>&1)
    reply_job submitted
  fi
  printf 'failed %s\\n' "$status"
  cat answer refusal
}
unset SLURM_BITSTR_LEN
case $(export -p) in *' SLURM_'* | *' SBATCH_'*)
  for name in $(env | sed -n 's/^\\(\\(SLURM\\|SBATCH\\)_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
    case $name in SLURM_CONF | SLURM_CONF_SERVER | SLURM_JWT) ;; *) unset "$name" ;; esac
  done ;;
esac
no_room="the job's folder cannot be written: disk or quota full?"
{ read -r host < /proc/sys/kernel/hostname; } 2> /dev/null || host=$(hostname)
part=$here/.hotswap/part.$host.$$
clock() { { read -r now rest < /proc/uptime && now=${now%%.*}; } 2> /dev/null || now=$(date +%s); }
clock
began=$now
late=
begin
# Each item is the number of its words, the words one a line, the script, the table of an array, and a dot.
while IFS= read -r count; do
  set --
  while [ "$count" -gt 0 ]; do
    IFS= read -r word || exit 1
    set -- "$@" "$word"
    count=$((count - 1))
  done
  if ! { head -c "$6" > "$part.script" && { [ "$7" -eq 0 ] || head -c "$7" > "$part.table"; }; } 2> /dev/null; then
    rm -f "$part.script" "$part.table"
    said="error the job's script cannot be written: disk or quota full?"
    printf '%s %s\\n%s\\n' "$1" "${#said}" "$said"
    end
  fi
  # A lost connection cut this item off: it is not submitted, and no answer could arrive.
  IFS= read -r dot && [ "$dot" = . ] || { rm -f "$part.script" "$part.table"; exit 1; }
  clock
  [ $((now - began)) -lt 20 ] || late=yes
  # If the controller is slow, the remaining items are left to a later request.
  said=later
  [ -n "$late" ] || said=$(submit "$@" < /dev/null)
  case $said in 'failed 124'*) late=yes ;; esac
  printf '%s %s\\n%s\\n' "$1" "${#said}" "$said"
done
[ ! -e "$part.script" ] && [ ! -e "$part.table" ] || rm -f "$part.script" "$part.table"
end
"""
)
