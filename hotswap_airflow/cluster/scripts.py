"""The shell programs that run on the login node. Constant text: whatever varies comes as arguments or on stdin.

Every answer stands between two marker lines, so that login banners do no harm and a cut answer is noticed.
"""

from __future__ import annotations

BEGIN = "hotswap-begin"
END = "hotswap-end"
LOADER = 'program=$(head -c "$1"); shift; eval "$program"'
"""The program comes on stdin, its length first: the command line stays one line for any login shell."""

_PROLOGUE = """\
set -u
export LC_ALL=C
umask 077
root=$1; shift
begin() { printf '\\nhotswap-begin\\n'; }
end() { printf '\\nhotswap-end\\n'; exit 0; }
say() { begin; printf '%s\\n' "$*"; end; }
# A program's output, then its exit status and the first words of its complaint.
answer() {
  { complaint=$("$@" 2>&1 >&3); status=$?; } 3>&1
  printf '\\nhotswap-answered %s %s\\n' "$status" "$(printf %s "$complaint" | head -c 400 | tr '\\n' ' ')"
}
# Whose folder this is: written whole or not at all, and once; an empty note is of somebody who died.
note() {
  printf '%s\\n' "$1" > "id.$$" && { ln "id.$$" id 2> /dev/null || [ -s id ] || mv -f "id.$$" id; }
  rm -f "id.$$"
}
last_line() { [ ! -s "$1" ] || while IFS= read -r line; do found=$line; done < "$1"; printf '%s' "${found-}"; }
cd 2> /dev/null || say "error the home folder cannot be entered"
mkdir -p -- "$root/.hotswap/jobs" "$root/.hotswap/packs" "$root/runs" 2> /dev/null
cd -- "$root" 2> /dev/null || say "error the work folder cannot be made or entered: $root"
[ -w . ] || say "error the work folder cannot be written: $root"
here=$(pwd -P)
"""

FIND = (
    _PROLOGUE
    + """\
# For each try of some jobs that has a folder: digest, id, cancelled, ended, who asked last, what settled it.
begin
while read -r stem; do
  for dir in .hotswap/jobs/"$stem"-e*-g*; do
    [ -d "$dir" ] || continue
    id= settled= asked= cancelled= ended=
    [ -s "$dir/id" ] && read -r id < "$dir/id"
    [ -s "$dir/settled" ] && read -r settled < "$dir/settled"
    [ -s "$dir/asked" ] && asked=$(last_line "$dir/asked")
    [ -e "$dir/cancelled" ] && cancelled=cancelled
    [ -e "$dir/exit" ] && ended=ended
    [ -e "$dir/wanted" ] && [ "$(ls "$dir/ends" | wc -l)" -ge "$(cat "$dir/wanted")" ] && ended=ended
    printf '%s|%s|%s|%s|%s|%s\\n' "${dir##*/}" "$id" "$cancelled" "$ended" "$asked" "$settled"
  done
done
end
"""
)

SUBMIT = (
    _PROLOGUE
    + """\
# Find the jobs of keys, or submit them: each once, whoever asks and whatever dies in between.
say() { printf '%s\\n' "$*"; exit 0; }
submit() {
  digest=$1 mode=$2 asked=$3 key=$4 limit=$5 table=$7; shift 7
  cd .hotswap/jobs || say "error the work folder cannot be entered"
  # A later try of the same task, after a clear, is at work: whoever asks now was left behind.
  for other in "${digest%-e*}"-e*; do
    case $other in "${digest%-g*}"-g* | *'*') continue ;; esac
    last=$(last_line "$other/asked")
    [ "${last%% *}" -le "${asked%% *}" ] 2> /dev/null || [ -z "$last" ] || say outdated
  done
  mkdir -- "$digest" 2> /dev/null || [ -d "$digest" ] ||
    say "error the job's folder cannot be made: $(mkdir -- "$digest" 2>&1)"
  cd -- "$digest" || say "error the job's folder cannot be entered"
  printf '%s\\n' "$key" > key
  printf '%s\\n' "$asked" >> asked || say "error the job's folder cannot be written: disk or quota full?"
  [ ! -e cancelled ] || say cancelled
  [ ! -s id ] || say "found $(cat id)"
  # The lock lives as long as this shell and its sbatch do, on this host. Where a file system has none, `began` decides.
  exec 9>> lock
  flock -n -E 75 9
  [ $? -ne 75 ] || say busy
  [ ! -s id ] || say "found $(cat id)"
  if [ "$mode" = again ]; then
    : > began
  elif ! (set -C; : > began) 2> /dev/null; then
    touch now
    say "orphaned $(( $(stat -c %Y now) - $(stat -c %Y began) ))"
  fi
  mv -f "$part.script" script || say "error the job's script cannot be written: disk or quota full?"
  if [ "$table" -gt 0 ]; then
    mv -f "$part.table" table && mkdir -p logs out ends && grep -vxc -e - table > wanted ||
      say "error the job's values cannot be written: disk or quota full?"
  fi
  timeout "$limit" "$@" > answer 2> refusal < /dev/null
  status=$?
  id=$(sed -n 's/^[[:space:]]*\\([1-9][0-9]*\\)\\(;[A-Za-z0-9_.-]*\\)\\{0,1\\}[[:space:]]*$/\\1/p' answer | tail -n 1)
  if [ "$status" -eq 0 ] && [ -n "$id" ]; then
    note "$id"
    # Cancelled while sbatch was at it.
    [ ! -e cancelled ] || scancel --quiet "$id" > /dev/null 2>&1
    say "submitted $(cat id)"
  fi
  printf 'failed %s\\n' "$status"
  cat answer refusal
}
for name in $(env | sed -n 's/^\\(\\(SLURM\\|SBATCH\\)_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
  [ "$name" = SLURM_CONF ] || unset "$name"
done
part=$here/.hotswap/part.$(hostname).$$
began=$(date +%s)
late=
begin
# Each item is the number of its words, the words in lines of their own, the script, and the table of an array.
while IFS= read -r count; do
  set --
  while [ "$count" -gt 0 ]; do
    IFS= read -r word || exit 1
    set -- "$@" "$word"
    count=$((count - 1))
  done
  if ! { head -c "$6" > "$part.script" && head -c "$7" > "$part.table"; } 2> /dev/null; then
    rm -f "$part.script" "$part.table"
    said="error the job's script cannot be written: disk or quota full?"
    printf '%s %s\\n%s\\n' "$1" "${#said}" "$said"
    end
  fi
  # What a dying connection has cut is nobody's script, and nobody hears us.
  [ "$(wc -c < "$part.script")" -eq "$6" ] && [ "$(wc -c < "$part.table")" -eq "$7" ] ||
    { rm -f "$part.script" "$part.table"; exit 1; }
  [ $(($(date +%s) - began)) -lt 20 ] || late=yes
  # Where the controller is slow the others are asked for again.
  said=later
  [ -n "$late" ] || said=$(submit "$@" < /dev/null)
  case $said in 'failed 124'*) late=yes ;; esac
  printf '%s %s\\n%s\\n' "$1" "${#said}" "$said"
done
rm -f "$part.script" "$part.table"
end
"""
)

RELEASE = (
    _PROLOGUE
    + """\
# sbatch refused the job for certain: nothing was submitted under this key.
rm -f ".hotswap/jobs/$1/began"
say released
"""
)

ADOPT = (
    _PROLOGUE
    + """\
# Slurm knows a job of this name, the folder does not: write down its id.
cd -- ".hotswap/jobs/$1" || say "error the job's folder cannot be entered"
note "$2"
say "found $(cat id)"
"""
)

STATUS = (
    _PROLOGUE
    + """\
# All jobs of this user, then what each asked-for folder holds: exit status and id; and the sizes of the logs.
begin
answer squeue -h -r -t all -u "$(id -un)" -o "$1"
digests=$(cat)
for digest in $digests; do
  dir=.hotswap/jobs/$digest
  exit=- id=-
  [ -s "$dir/exit" ] && read -r exit < "$dir/exit"
  [ -s "$dir/id" ] && read -r id < "$dir/id"
  printf '%s %s %s\\n' "$digest" "$exit" "$id"
done
# One program for all logs, where there are any.
cd .hotswap/jobs && printf '%s\\n' "$digests" | sed -n 's|..*|&/job.log|p' | xargs -r stat -L -c '%n %s' 2> /dev/null
end
"""
)

ACCOUNTING = (
    _PROLOGUE
    + """\
# What accounting knows of some jobs, by id or by name.
begin
answer sacct -X -n -P -S "$1" -o "$2" "$3"
end
"""
)

KEYS = (
    _PROLOGUE
    + """\
# Whose each job is: for every digest the note that its submitter left.
begin
while read -r digest; do
  cat ".hotswap/jobs/$digest/key" 2> /dev/null
done
end
"""
)

LOOK_UP = (
    _PROLOGUE
    + """\
# A job that anybody submitted: the queue's lines and accounting's, by id or by name.
begin
answer squeue -h -r -t all "$1" -o "$2"
answer sacct -a -X -n -P -S "$3" -o "$4" "$1"
end
"""
)

ENDS = (
    _PROLOGUE
    + """\
# The ends that the elements of arrays noted: for every digest a line, `digest ELEMENT.STATUS …`.
begin
while read -r digest; do
  printf '%s ' "$digest"
  ls -f ".hotswap/jobs/$digest/ends" 2> /dev/null | tr '\\n' ' '
  echo
done
end
"""
)

MEMBERS = (
    _PROLOGUE
    + """\
# The elements that arrays have: for every digest a line, `digest ELEMENT …`.
begin
while read -r digest; do
  printf '%s ' "$digest"
  awk '$0 != "-" { printf "%d ", NR - 1 }' ".hotswap/jobs/$digest/table" 2> /dev/null
  echo
done
end
"""
)

VALUES = (
    _PROLOGUE
    + """\
# The values that the elements of an array wrote: lines `ELEMENT:key=value`, with their length before them.
cd -- ".hotswap/jobs/$1/out" || say "error the job's folder cannot be entered"
begin
find . -type f -exec awk '{ print substr(FILENAME, 3) ":" $0 }' {} + | head -c "$2"
end
"""
)

TAIL = (
    _PROLOGUE
    + """\
# A piece of each log: for every line `file offset count` the bytes, with their number before them;
# the offset `last` means the end of the file.
begin
while read -r digest offset count; do
  file=.hotswap/jobs/$digest
  if [ "$offset" = last ]; then
    offset=$(($(stat -L -c %s "$file" 2> /dev/null || echo 0) - count))
    [ "$offset" -ge 0 ] || offset=0
  fi
  size=$(tail -c "+$((offset + 1))" "$file" 2> /dev/null | head -c "$count" | wc -c)
  printf '%s %s\\n' "$digest" "$size"
  tail -c "+$((offset + 1))" "$file" 2> /dev/null | head -c "$size"
  printf '\\n'
done
end
"""
)

RESULT = (
    _PROLOGUE
    + """\
# What jobs left in their folders: exit status, why they refused, and the values they wrote; each with its length.
begin
while read -r digest; do
  for name in exit reason output; do
    file=.hotswap/jobs/$digest/$name
    size=0
    [ ! -s "$file" ] || size=$(head -c "$1" "$file" | wc -c)
    printf '%s/%s %s\\n' "$digest" "$name" "$size"
    [ "$size" -eq 0 ] || head -c "$size" "$file"
    printf '\\n'
  done
done
end
"""
)

SETTLE = (
    _PROLOGUE
    + """\
# The ends of jobs were told to those who waited: for every line `digest words`.
while read -r digest words; do
  dir=.hotswap/jobs/$digest
  printf '%s\\n' "$words" > "$dir/settled.new" && mv -f "$dir/settled.new" "$dir/settled"
done
say settled
"""
)

CANCEL = (
    _PROLOGUE
    + """\
# For every line `digest name`: nothing is submitted under the key any more, and what was is cancelled.
user=$(id -un)
failed=
while read -r digest name; do
  mkdir -p -- ".hotswap/jobs/$digest" && : > ".hotswap/jobs/$digest/cancelled"
  # By name, so that an id that Slurm gave to another job meanwhile is left alone.
  said=$(scancel --quiet --user="$user" --name="$name" 2>&1) || failed="$failed $said"
done
begin
[ -z "$failed" ] && echo cancelled || printf 'failed %s\\n' "$failed"
end
"""
)

LAYOUT = (
    _PROLOGUE
    + """\
umask 022
# The folders of runs, each once: with real copies of the workflow's files, whole or not at all. For every line
# `folder pack` one of answer.
say() { printf '%s\\n' "$*"; exit 0; }
lay_out() {
  folder=$1 pack=$2
  run=runs/$folder
  [ ! -e "$run/.hotswap-run" ] || say "ready $here/$run"
  [ -z "$pack" ] || [ -d ".hotswap/packs/$pack" ] || say missing
  mkdir -p -- "${run%/*}"
  new=$(mktemp -d ".hotswap/run.XXXXXX") || say "error the run's folder cannot be made: disk or quota full?"
  if [ -n "$pack" ]; then
    cp -R -- ".hotswap/packs/$pack/." "$new" || { rm -rf -- "$new"; say "error the workflow's files cannot be copied"; }
  fi
  chmod 755 "$new"
  : > "$new/.hotswap-run"
  mv -T -- "$new" "$run" 2> /dev/null || rm -rf -- "$new"
  [ -e "$run/.hotswap-run" ] || say "error the run's folder cannot be made: $here/$run"
  say "ready $here/$run"
}
begin
while read -r folder pack; do
  (lay_out "$folder" "$pack" < /dev/null)
done
end
"""
)

UNPACK = (
    _PROLOGUE
    + """\
umask 022
# The workflow's files, once a cluster and digest; the archive is on stdin.
pack=.hotswap/packs/$1
new=$(mktemp -d ".hotswap/pack.XXXXXX") || say "error the workflow's files cannot be stored: disk or quota full?"
if ! said=$(tar -x -f - -C "$new" 2>&1); then
  rm -rf -- "$new"
  say "error the workflow's files cannot be stored: $said"
fi
mv -T -- "$new" "$pack" 2> /dev/null || rm -rf -- "$new"
[ -d "$pack" ] || say "error the workflow's files cannot be stored"
say stored
"""
)

PROBE = (
    _PROLOGUE
    + """\
# What the cluster is and allows; read-only but for one file in the work folder.
begin
printf 'version %s\\n' "$(sbatch --version 2>&1 | head -n 1)"
printf 'user %s\\n' "$(id -un)"
printf 'time %s\\n' "$(date +%s)"
printf 'folder %s\\n' "$here"
sacct -X -n -P -S now-1hour -o JobID > /dev/null 2>&1; printf 'sacct %s\\n' "$?"
scontrol show config 2> /dev/null |
  sed -n 's/^\\(ClusterName\\|MaxArraySize\\|MinJobAge\\|MaxJobCount\\|AccountingStorageType\\) *= */config \\1 /p'
sinfo -h -o 'partition %P %a %l %D' 2> /dev/null
end
"""
)
