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
# Unset the account's own settings, which would leave jobs out of the answers.
unset SQUEUE_ACCOUNT SQUEUE_ALL SQUEUE_ARRAY SQUEUE_CLUSTERS SQUEUE_FORMAT SQUEUE_FORMAT2 SQUEUE_LICENSES SQUEUE_NAMES \
  SQUEUE_PARTITION SQUEUE_PRIORITY SQUEUE_QOS SQUEUE_SORT SQUEUE_STATES SQUEUE_USERS SACCT_FORMAT SLURM_CLUSTERS \
  SQUEUE_FEDERATION SQUEUE_LOCAL SQUEUE_SIBLING SACCT_FEDERATION SACCT_LOCAL SCANCEL_ACCOUNT \
  SCANCEL_BATCH SCANCEL_CTLD SCANCEL_FULL SCANCEL_HURRY SCANCEL_INTERACTIVE SCANCEL_NAME SCANCEL_PARTITION SCANCEL_QOS \
  SCANCEL_STATE SCANCEL_USER SCANCEL_VERBOSE SCANCEL_WCKEY
# Each cluster of a federation is queried separately: squeue would leave out a cluster that is away without an error.
export SQUEUE_LOCAL=1
umask 077
root=$1 cluster=$2; shift 2
# Run a program of Slurm, for this cluster if one login serves several.
slurm() { program=$1; shift; "$program" ${cluster:+"--clusters=$cluster"} "$@"; }
begin() { printf '\\nhotswap-begin\\n'; }
end() { printf '\\nhotswap-end\\n'; exit 0; }
reply() { begin; printf '%s\\n' "$*"; end; }
# Return a program's output, then its exit status and the beginning of its error message.
return_output() {
  { complaint=$("$@" 2>&1 >&3); status=$?; } 3>&1
  printf '\\nhotswap-answered %s %s\\n' "$status" "$(printf %s "$complaint" | head -c 400 | tr '\\n' ' ')"
}
# Record the id of the folder's job: complete or not at all, and once. An empty note is from a process that died.
record_id() {
  printf '%s\\n' "$1" > "id.$$" && { ln "id.$$" id 2> /dev/null || [ -s id ] || mv -f "id.$$" id; }
  rm -f "id.$$"
}
# Print the name of the cluster that Slurm uses if a command names none.
home_name() { slurm scontrol show config 2> /dev/null | sed -n 's/^ClusterName *= *//p'; }
# Set `where` to the cluster that a job's folder notes; empty if it notes none.
read_cluster() { where=; [ ! -s "$1/cluster" ] || read -r where < "$1/cluster" || where=; }
# Set `dir` to the place of a job's files: subfolders keep each folder small, however many jobs there have been.
set_dir() { dir=.hotswap/jobs/${1%"${1#???}"}/$1; }
last_line() { [ ! -s "$1" ] || while IFS= read -r line; do found=$line; done < "$1"; printf '%s' "${found-}"; }
cd 2> /dev/null || reply "away the home folder does not exist; is it mounted?"
"""
ROOT = """\
[ -d "$root/.hotswap/jobs" ] && [ -d "$root/.hotswap/packs" ] && [ -d "$root/runs" ] ||
  mkdir -p -- "$root/.hotswap/jobs" "$root/.hotswap/packs" "$root/runs" 2> /dev/null
"""
PROLOGUE = (
    HOME
    + ROOT
    + """\
cd -P -- "$root" 2> /dev/null || reply "error the work folder cannot be made or entered: $root"
[ -w . ] || reply "error the work folder cannot be written: $root"
here=$PWD
case $here in
  *[%\\\\]*) reply "error Slurm replaces % and \\\\ in the paths of logs, so none may be in the work folder: $here" ;;
esac
"""
)

NOTES = (
    PROLOGUE
    + """\
# Read and write the notes of jobs, one request a line: `find STEM`, `read FILE`, `settle DIGEST WORDS`. Each answer has
# its number and size before it, and a `!` after the number if something cannot be read. Files are read up to a size.
most=$1
# For each try of a job that has a folder: digest, id, cluster, cancelled, last attempt, the digest of a sweep's rows, a
# person's marks, recorded end.
find_tries() {
  set_dir "$1"
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
    read_cluster "$dir"
    printf '%s|%s|%s|%s|%s|%s|%s|%s|%s\\n' \
      "${dir##*/}" "$id" "$where" "$cancelled" "$asked" "$rows" "$adopt" "$anew" "$settled"
  done
}
# Record the end of a job.
record_end() {
  set_dir "${1%% *}"
  # A folder that was removed needs no note; an end that is already recorded stays as it is.
  [ ! -e "$dir" ] || { read -r known < "$dir/settled" && [ -n "$known" ]; } ||
    { printf '%s\\n' "${1#* }" > "$dir/settled.new" && mv -f "$dir/settled.new" "$dir/settled"; } ||
    return
  # Nothing can begin again under this key.
  for kept in "$dir"/secrets*; do [ ! -e "$kept" ] || rm -f "$kept"; done
  printf settled
} 2> /dev/null
return_text() { printf '%s %s\\n%s\\n' "$number" "${#1}" "$1"; }
return_unread() { printf '%s! 0\\n\\n' "$number"; }
# Return a file with its bytes unchanged.
return_file() {
  set_dir "$1"
  [ -f "$dir" ] && [ -r "$dir" ] && [ -s "$dir" ] || { return_text ''; return; }
  head -c "$most" "$dir" > /dev/null 2>&1 || { return_unread; return; }
  size=$(head -c "$most" "$dir" | wc -c)
  printf '%s %s\\n' "$number" "$size"
  head -c "$size" "$dir"
  printf '\\n'
}
number=0
begin
while read -r verb words; do
  case $verb in
    find) said=$(find_tries "$words") && return_text "$said" || return_unread ;;
    read) return_file "$words" ;;
    settle) return_text "$(record_end "$words")" ;;
  esac
  number=$((number + 1))
done
end
"""
)

RELEASE = (
    PROLOGUE
    + """\
# sbatch certainly refused the job: nothing was submitted under this key.
set_dir "$1"
rm -f "$dir/began" "$dir"/secrets*
reply released
"""
)

ADOPT = (
    PROLOGUE
    + """\
# Slurm knows a job of this name, but its folder has no id: record the id, and the cluster if it is another one.
set_dir "$1"
cd -- "$dir" || reply "error the job's folder cannot be entered"
[ -z "$3" ] || [ -s cluster ] || printf '%s\\n' "$3" > cluster
record_id "$2"
reply "found $(cat id)"
"""
)

STATUS = (
    PROLOGUE
    + """\
# All jobs of this user, if a format of squeue is given; then the content of each requested folder: exit status, id,
# whether a signal came, and the cluster; then the sizes of the logs.
begin
[ -z "$1" ] || return_output slurm squeue -h -r -t all -a -u "$(id -un)" -o "$1"
digests=$(cat)
# Each line that the shell writes would travel in a packet of its own, and thousands of packets delay the reader: sed
# joins them.
for digest in $digests; do
  set_dir "$digest"
  exit=- id=- signalled=-
  [ -s "$dir/exit" ] && read -r exit < "$dir/exit"
  [ -s "$dir/id" ] && read -r id < "$dir/id"
  [ ! -e "$dir/signalled" ] || signalled=signalled
  read_cluster "$dir"
  printf '%s %s %s %s %s\\n' "$digest" "$exit" "$id" "$signalled" "${where:--}"
done | sed ''
# One program for all logs, if there are any.
cd .hotswap/jobs && printf '%s\\n' "$digests" | sed -n 's|^\\(...\\).*|\\1/&/job.log|p' |
  xargs -r stat -L -c '%n %s' 2> /dev/null
end
"""
)

WHO = (
    PROLOGUE
    + """\
# The account's name, and the path of the work folder.
reply "$(id -un) $here"
"""
)

HOME_NAME = (
    HOME
    + """\
reply "$(home_name)"
"""
)

QUEUE_OF_ALL = (
    PROLOGUE
    + """\
# The jobs of all users with names that end as ours do; the name is the format's last field.
begin
return_output slurm squeue -h -r -t all -a -o "$1" | grep -e "$2" -e '^hotswap-answered '
end
"""
)

ACCOUNTING = (
    PROLOGUE
    + """\
# The rows of accounting for some jobs, by id or by name; $4: options for the users and clusters.
begin
return_output sacct $4 -X -n -P -S "$1" -o "$2" "$3"
end
"""
)

KEYS = (
    PROLOGUE
    + """\
# The job key of every digest, from the note that its submitter left.
begin
while read -r digest; do
  set_dir "$digest"
  cat "$dir/key" 2> /dev/null
done
end
"""
)

LOOK_UP = (
    PROLOGUE
    + """\
# Jobs of any user, by id or by name: the lines of the queue, then those of accounting.
begin
return_output slurm squeue -h -r -t all -a "$1" -o "$2"
[ -n "$cluster" ] && which=--clusters=$cluster || which=--federation
return_output sacct "$which" -a -X -n -P -S "$3" -o "$4" "$1"
end
"""
)

WAIT_FOR_END = (
    PROLOGUE
    + """\
# Wait, at most 40 s, until a job has ended since a given time; return the time of the newest end.
left=80
while now=$(stat -c %.Y .hotswap/ended 2> /dev/null || echo 0); [ "$now" = "$1" ] && [ "$left" -gt 0 ]; do
  left=$((left - 1))
  sleep 0.5
done
reply "$now"
"""
)

ENDS = (
    PROLOGUE
    + """\
# The ends that the elements of arrays noted: for every digest a line, `digest ELEMENT.STATUS …`.
digests=$(cat)
for digest in $digests; do
  set_dir "$digest"
  [ ! -e "$dir/ends" ] || [ -r "$dir/ends" ] || reply "error the folder of an array's ends cannot be read: $dir/ends"
done
begin
for digest in $digests; do
  printf '%s ' "$digest"
  set_dir "$digest"
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
  set_dir "$digest"
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
set_dir "$1"
[ -e "$dir/out" ] || { begin; end; }
cd -- "$dir/out" || reply "error the folder of an array's values cannot be entered: $dir/out"
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
  set_dir "$name"
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
# Facts and limits of the cluster. Nothing is written, except that a missing work folder is made.
begin
printf 'version %s\\n' "$(sbatch --version 2>&1 | head -n 1)"
printf 'user %s\\n' "$(id -un)"
printf 'time %s\\n' "$(date +%s)"
printf 'folder %s\\n' "$here"
# With a time limit: Slurm's programs would wait for a stopped controller.
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
