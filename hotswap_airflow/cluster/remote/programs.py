"""The shell programs that run on the login node. Their text is constant: values come as arguments or on stdin.

Every answer stands between two marker lines, so that login banners do no harm and an incomplete answer is noticed.
"""

from __future__ import annotations

BEGIN = "hotswap-begin"
END = "hotswap-end"
LOADER = 'program=$(head -c "$1"); shift; eval "$program"'
"""The program comes on stdin, its length as an argument: the command line stays one line for any login shell."""

HOME = """\
set -u
export LC_ALL=C SLURM_BITSTR_LEN=0
# What the account's own settings would leave out of the answers.
unset SQUEUE_ACCOUNT SQUEUE_ALL SQUEUE_ARRAY SQUEUE_CLUSTERS SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_LICENSES SQUEUE_NAMES \
  SQUEUE_PARTITION SQUEUE_PRIORITY SQUEUE_QOS SQUEUE_SORT SQUEUE_STATES SQUEUE_USERS SACCT_FORMAT SLURM_CLUSTERS \
  SQUEUE_FEDERATION SQUEUE_LOCAL SQUEUE_SIBLING SACCT_FEDERATION SACCT_LOCAL SCANCEL_ACCOUNT \
  SCANCEL_BATCH SCANCEL_CTLD SCANCEL_FULL SCANCEL_HURRY SCANCEL_INTERACTIVE SCANCEL_NAME SCANCEL_PARTITION SCANCEL_QOS \
  SCANCEL_STATE SCANCEL_USER SCANCEL_VERBOSE SCANCEL_WCKEY
# Each cluster of a federation is asked by itself: one that is away would be left out without a word.
export SQUEUE_LOCAL=1
umask 077
root=$1 cluster=$2; shift 2
# A program of Slurm, which speaks of this cluster where one login serves several.
slurm() { program=$1; shift; "$program" ${cluster:+"--clusters=$cluster"} "$@"; }
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
# What the cluster is called that answers where none is named.
home_name() { slurm scontrol show config 2> /dev/null | sed -n 's/^ClusterName *= *//p'; }
# The cluster on which a job runs, as far as it was noted.
where_is() { where=; [ ! -s "$1/cluster" ] || read -r where < "$1/cluster" || where=; }
# Where a job's own files are: a few hundred side by side, however many there have been.
at() { dir=.hotswap/jobs/${1%"${1#???}"}/$1; }
last_line() { [ ! -s "$1" ] || while IFS= read -r line; do found=$line; done < "$1"; printf '%s' "${found-}"; }
cd 2> /dev/null || say "away the home folder is not there; is it mounted?"
"""
ROOT = """\
[ -d "$root/.hotswap/jobs" ] && [ -d "$root/.hotswap/packs" ] && [ -d "$root/runs" ] ||
  mkdir -p -- "$root/.hotswap/jobs" "$root/.hotswap/packs" "$root/runs" 2> /dev/null
"""
PROLOGUE = (
    HOME
    + ROOT
    + """\
cd -P -- "$root" 2> /dev/null || say "error the work folder cannot be made or entered: $root"
[ -w . ] || say "error the work folder cannot be written: $root"
here=$PWD
case $here in
  *[%\\\\]*) say "error Slurm replaces % and \\\\ in the paths of logs, so none may be in the work folder: $here" ;;
esac
"""
)

NOTES = (
    PROLOGUE
    + """\
# What jobs' folders tell and are told, one a line: `find STEM`, `read FILE`, `settle DIGEST WORDS`. Each answer has its
# number and size before it, and a `!` after the number where something cannot be read. Files are read up to a size.
most=$1
# For each try of a job that has a folder: digest, id, cluster, cancelled, who asked last, the digest of a sweep's rows,
# what a person marked it with, what settled it.
find_tries() {
  at "$1"
  [ ! -e "${dir%/*}" ] || [ -r "${dir%/*}" ] || return
  for dir in "$dir"-e*-g*; do
    [ -d "$dir" ] || continue
    id= settled= asked= cancelled= rows= adopt= anew=
    [ -s "$dir/id" ] && read -r id < "$dir/id"
    [ -s "$dir/rows" ] && read -r rows base < "$dir/rows"
    [ -s "$dir/settled" ] && read -r settled < "$dir/settled"
    [ -s "$dir/asked" ] && asked=$(last_line "$dir/asked")
    [ -e "$dir/cancelled" ] && cancelled=cancelled
    [ -s "$dir/adopt" ] && read -r adopt < "$dir/adopt"
    [ -e "$dir/anew" ] && anew=anew
    where_is "$dir"
    printf '%s|%s|%s|%s|%s|%s|%s|%s|%s\\n' \
      "${dir##*/}" "$id" "$where" "$cancelled" "$asked" "$rows" "$adopt" "$anew" "$settled"
  done
}
# The end of a job was told to those who waited.
settle() {
  at "${1%% *}"
  # A folder that somebody removed needs no note; what was told once stays as it was told.
  [ ! -e "$dir" ] || { read -r known < "$dir/settled" && [ -n "$known" ]; } ||
    { printf '%s\\n' "${1#* }" > "$dir/settled.new" && mv -f "$dir/settled.new" "$dir/settled"; } ||
    return
  printf settled
} 2> /dev/null
give() { printf '%s %s\\n%s\\n' "$number" "${#1}" "$1"; }
unread() { printf '%s! 0\\n\\n' "$number"; }
# As it is, whatever its bytes.
give_file() {
  at "$1"
  [ -f "$dir" ] && [ -r "$dir" ] && [ -s "$dir" ] || { give ''; return; }
  head -c "$most" "$dir" > /dev/null 2>&1 || { unread; return; }
  size=$(head -c "$most" "$dir" | wc -c)
  printf '%s %s\\n' "$number" "$size"
  head -c "$size" "$dir"
  printf '\\n'
}
number=0
begin
while read -r verb words; do
  case $verb in
    find) said=$(find_tries "$words") && give "$said" || unread ;;
    read) give_file "$words" ;;
    settle) give "$(settle "$words")" ;;
  esac
  number=$((number + 1))
done
end
"""
)

RELEASE = (
    PROLOGUE
    + """\
# sbatch refused the job for certain: nothing was submitted under this key.
at "$1"
rm -f "$dir/began"
say released
"""
)

ADOPT = (
    PROLOGUE
    + """\
# Slurm knows a job of this name, the folder does not: write down its id, and its cluster where that is another one.
at "$1"
cd -- "$dir" || say "error the job's folder cannot be entered"
[ -z "$3" ] || [ -s cluster ] || printf '%s\\n' "$3" > cluster
note "$2"
say "found $(cat id)"
"""
)

STATUS = (
    PROLOGUE
    + """\
# All jobs of this user, where a format of squeue is given; then what each asked-for folder holds: exit status, id,
# whether a signal came, and the cluster; and the sizes of the logs.
begin
[ -z "$1" ] || answer slurm squeue -h -r -t all -a -u "$(id -un)" -o "$1"
digests=$(cat)
# Each line that the shell writes would travel as a packet of its own, and thousands of those hold up whoever reads
# them: sed puts them together.
for digest in $digests; do
  at "$digest"
  exit=- id=- signalled=-
  [ -s "$dir/exit" ] && read -r exit < "$dir/exit"
  [ -s "$dir/id" ] && read -r id < "$dir/id"
  [ ! -e "$dir/signalled" ] || signalled=signalled
  where_is "$dir"
  printf '%s %s %s %s %s\\n' "$digest" "$exit" "$id" "$signalled" "${where:--}"
done | sed ''
# One program for all logs, where there are any.
cd .hotswap/jobs && printf '%s\\n' "$digests" | sed -n 's|^\\(...\\).*|\\1/&/job.log|p' |
  xargs -r stat -L -c '%n %s' 2> /dev/null
end
"""
)

WHO = (
    PROLOGUE
    + """\
# Who we are there, and where the work folder is.
say "$(id -un) $here"
"""
)

HOME_NAME = (
    HOME
    + """\
say "$(home_name)"
"""
)

QUEUE_OF_ALL = (
    PROLOGUE
    + """\
# The jobs of all users whose names end as ours do; the name is the format's last field.
begin
answer slurm squeue -h -r -t all -a -o "$1" | grep -e "$2" -e '^hotswap-answered '
end
"""
)

ACCOUNTING = (
    PROLOGUE
    + """\
# What accounting knows of some jobs, by id or by name; $4: whose jobs, and of which clusters.
begin
answer sacct $4 -X -n -P -S "$1" -o "$2" "$3"
end
"""
)

KEYS = (
    PROLOGUE
    + """\
# Whose each job is: for every digest the note that its submitter left.
begin
while read -r digest; do
  at "$digest"
  cat "$dir/key" 2> /dev/null
done
end
"""
)

LOOK_UP = (
    PROLOGUE
    + """\
# A job that anybody submitted: the queue's lines and accounting's, by id or by name.
begin
answer slurm squeue -h -r -t all -a "$1" -o "$2"
[ -n "$cluster" ] && which=--clusters=$cluster || which=--federation
answer sacct "$which" -a -X -n -P -S "$3" -o "$4" "$1"
end
"""
)

WAIT_FOR_END = (
    PROLOGUE
    + """\
# Wait until some job has ended since a moment, for a while; give the moment of the newest end.
left=80
while now=$(stat -c %.Y .hotswap/ended 2> /dev/null || echo 0); [ "$now" = "$1" ] && [ "$left" -gt 0 ]; do
  left=$((left - 1))
  sleep 0.5
done
say "$now"
"""
)

ENDS = (
    PROLOGUE
    + """\
# The ends that the elements of arrays noted: for every digest a line, `digest ELEMENT.STATUS …`.
digests=$(cat)
for digest in $digests; do
  at "$digest"
  [ ! -e "$dir/ends" ] || [ -r "$dir/ends" ] || say "error the folder of an array's ends cannot be read: $dir/ends"
done
begin
for digest in $digests; do
  printf '%s ' "$digest"
  at "$digest"
  ls -f "$dir/ends" 2> /dev/null | tr '\\n' ' '
  echo
done
end
"""
)

MEMBERS = (
    PROLOGUE
    + """\
# The elements that arrays have: for every digest a line, `digest BASE ELEMENT …`.
begin
while read -r digest; do
  at "$digest"
  base=0
  [ -s "$dir/rows" ] && read -r rows base < "$dir/rows"
  printf '%s %s ' "$digest" "${base:-0}"
  awk '$0 != "-" { printf "%d ", NR - 1 }' "$dir/table" 2> /dev/null
  echo
done
end
"""
)

VALUES = (
    PROLOGUE
    + """\
# The values that the elements of an array wrote: lines `ELEMENT:key=value`, with their length before them.
at "$1"
[ -e "$dir/out" ] || { begin; end; }
cd -- "$dir/out" || say "error the folder of an array's values cannot be entered: $dir/out"
begin
find . -type f -exec awk '{ print substr(FILENAME, 3) ":" $0 }' {} + | head -c "$2"
end
"""
)

TAIL = (
    PROLOGUE
    + """\
# A piece of each log: for every line `file offset count` the bytes, with their number before them;
# the offset `last` means the end of the file.
begin
while read -r name offset count; do
  at "$name"
  file=$dir
  if [ "$offset" = last ]; then
    offset=$(($(stat -L -c %s "$file" 2> /dev/null || echo 0) - count))
    [ "$offset" -ge 0 ] || offset=0
  fi
  size=0
  [ ! -s "$file" ] || size=$(($(stat -L -c %s "$file") - offset))
  [ "$size" -ge 0 ] || size=0
  [ "$size" -le "$count" ] || size=$count
  printf '%s %s\\n' "$name" "$size"
  [ "$size" -eq 0 ] || tail -c "+$((offset + 1))" "$file" | head -c "$size"
  printf '\\n'
done
end
"""
)

PROBE = (
    PROLOGUE
    + """\
# What the cluster is and allows; read-only but for one file in the work folder.
begin
printf 'version %s\\n' "$(sbatch --version 2>&1 | head -n 1)"
printf 'user %s\\n' "$(id -un)"
printf 'time %s\\n' "$(date +%s)"
printf 'folder %s\\n' "$here"
# A controller that is stopped would be waited for.
timed() { program=$1; shift; timeout 10 "$program" ${cluster:+"--clusters=$cluster"} "$@"; }
complaint=$(timed squeue -h -u "$(id -un)" -o '' 2>&1 > /dev/null)
status=$?
printf 'controller %s %s\\n' "$status" "$(printf %s "$complaint" | tr '\\n' ' ')"
timed sacct -X -n -P -S now-1hour -o JobID > /dev/null 2>&1; printf 'sacct %s\\n' "$?"
[ "$status" -eq 0 ] || end
timed scontrol show config 2> /dev/null |
  sed -n 's/^\\(ClusterName\\|MaxArraySize\\|MinJobAge\\|MaxJobCount\\|AccountingStorageType\\) *= */config \\1 /p'
timed sinfo -h -o 'partition %P %a %l %D' 2> /dev/null
end
"""
)
