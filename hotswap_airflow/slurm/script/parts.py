"""The shell text of batch scripts, in pieces that ``slurm.script.render`` fills in and puts together."""

from __future__ import annotations

HEAD = """\
#!/bin/bash
# Job {job} of workflow {workflow}, run {run}. Written by hotswap.
set -u
key_dir=$SLURM_SUBMIT_DIR
id=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}

# Record this job's id before anything else. If another job of the same key began first, leave the work to it.
new=$key_dir/id.$SLURM_JOB_ID
if [ ! -s "$key_dir/id" ]; then
  printf '%s\\n' "$id" > "$new" &&
    {{ ln "$new" "$key_dir/id" 2> /dev/null || [ -s "$key_dir/id" ] || mv -f "$new" "$key_dir/id"; }}
  rm -f "$new"
fi
known=$(cat "$key_dir/id") || {{ echo "hotswap: the job's folder is missing on $(hostname): $key_dir" >&2; exit 1; }}
[ "$known" = "$id" ] || exit 0
# Record the cluster that runs the job: a site or a federation may have sent it to another cluster than requested.
where=${{SLURM_WORKING_CLUSTER-}} where=${{where%%:*}}
[ -z "$where" ] || {{ read -r written < "$key_dir/cluster" && [ "$written" = "$where" ]; }} 2> /dev/null ||
  {{ printf '%s\\n' "$where" > "$new" && mv -f "$new" "$key_dir/cluster"; }}
exit_if_unwanted() {{
  [ ! -e "$key_dir/cancelled" ] || {{ echo {cancelled} > "$key_dir/reason"; exit 1; }} 2> /dev/null
  # The end was recorded, and another try may be running: a controller that lost its state starts this job again.
  if [ -s "$key_dir/settled" ]; then
    [ ! -s "$key_dir/exit" ] || read -r noted < "$key_dir/exit"
    exit "${{noted:-1}}"
  fi
}}
exit_if_unwanted

refuse() {{
  printf 'hotswap: %s\\n' "$1" | tee "$reason" >&2
  return 1
}}

# Watchers of this file poll at once; all others find the end with their next regular poll.
notify() {{ echo > "$key_dir/../../../ended"; }} 2> /dev/null

# If a controller dies before it wrote down that a job had begun, it starts the job again beside the first start. Each
# start holds a lock while it runs. A start before a requeue has ended, or soon will; its lock may be stale.
requeued=${{SLURM_RESTART_COUNT:-0}}
locked() {{ exec 9>> "$1" && flock -w "$2" -E 75 9; [ $? -eq 75 ]; }} 2> /dev/null
lock_start() {{
  mine=$1 before=$1
  if [ "$requeued" -gt 0 ]; then
    mine=$1.$requeued
    [ "$requeued" -eq 1 ] || before=$1.$((requeued - 1))
    ! locked "$before" {patience} || echo "hotswap: an earlier start still holds $before; continuing" >&2
    # Make the logs of all earlier starts, even if they did nothing: a later try looks for logs until one is missing.
    : >> "$1"
    for ((start = 1; start < requeued; start++)); do : >> "$1.$start"; done
  fi
  ! locked "$mine" {patience} || {{ echo "hotswap: Slurm started this twice; waiting for the other" >&2; flock 9; }}
  exit_if_unwanted
  SECONDS=0
}}
# An earlier try that counts as gone may still run unseen, in its first start or in one after a requeue.
is_held() {{ ( flock -w "$2" -E 75 8; [ $? -eq 75 ] ) 8>> "$1"; }} 2> /dev/null
wait_for_earlier_try() {{
  log=$1 start=0
  while [ -e "$log" ]; do
    if is_held "$log" 0; then
      echo "hotswap: an earlier try still runs and holds $log; waiting for it" >&2
      ! is_held "$log" $((SECONDS < {patience} ? {patience} - SECONDS : 1)) ||
        echo "hotswap: the earlier try still holds $log; continuing" >&2
    fi
    start=$((start + 1))
    log=$1.$start
  done
  exit_if_unwanted
}}
# A controller that was not notified of an end takes the job for lost and requeues it. So an end that the script reached
# by itself counts, except failures for which another node, a signal, or the site's RequeueExit may be the reason.
end_counts() {{
  [ "$requeued" -gt 0 ] && [ "$1" -ne 0 ] || return 0
  [ "$requeued" -eq 1 ] && [ "${{SLURM_JOB_NUM_NODES:-1}}" -eq 1 ] && [ "$1" -le {signals} ] && [ "$1" -ne {saved} ]
}}

export SLURM_EXPORT_ENV=ALL
export HOTSWAP_RUN_DIR="${{key_dir%/.hotswap/jobs/*}}"/{folder}
export HOTSWAP_ATTEMPT=$(({attempt} + requeued))
"""
PUBLISH = """
# Copy beside the place, then rename: whole or not at all, and never over anything. The mark is for a later start.
publish() {
  target=$3/${2##*/} copy=$3/.hotswap-$SLURM_JOB_ID-${2##*/}
  mark=$key_dir/published.$1
  [ ! -e "$mark" ] || return 0
  mkdir -p -- "$3" || refuse "the folder to publish in cannot be made: $3" || return
  [ ! -e "$target" ] || refuse "cannot publish: $target exists already, and nothing is overwritten" || return
  rm -rf -- "$copy"
  cp -a -- "$2" "$copy" && mv -nT -- "$copy" "$target" && [ ! -e "$copy" ] || {
    rm -rf -- "$copy"
    refuse "cannot publish $2 as $target: the copy failed, or something is there already"
    return
  }
  : > "$mark"
}
"""
WORK = """
# Run the work as a background child: bash runs a trap only after a foreground child has ended.
# The job's variables are set in the child alone, so that none of them changes this script.
child= missed= witness=
# Slurm sends the signal that ends a job to all processes of the job, but a warning only to this shell. The witness is
# one more process: if it is gone, the child has received the signal, too, and must not get it again.
start_witness() {{
  sleep infinity < /dev/null > /dev/null 2>&1 9>&- &
  witness=$!
  disown "$witness"
}}
trap '{{ [ -z "$witness" ] || kill "$witness"; }} 2> /dev/null' EXIT
reached_all() {{
  sleep {doubt}
  ! kill -0 "$witness" 2> /dev/null && start_witness
}}
forward() {{
  forwarded=yes last_signal=$1
  if [ -z "$child" ]; then missed=$1; elif ! reached_all; then kill -s "$1" "$child" 2> /dev/null; fi
}}
work() {{
  [ -n "$witness" ] || start_witness
{prepare}  for signal in {signals}; do trap "forward $signal" "$signal"; done
  (
{modules}{secrets}eval "$row"
{hand_over}exec "$@"
  ) &
  child=$!
  forwarded=yes
  # This signal came after the previous child had ended, or before the number of this child was known.
  [ -z "$missed" ] || kill -s "$missed" "$child" 2> /dev/null
  missed=
  while [ -n "$forwarded" ]; do forwarded=; wait "$child"; status=$?; done
  child=
  [ "$status" -eq 0 ] || return "$status"
{check}  return 0
}}
enter_run_dir() {{ cd -- "$HOTSWAP_RUN_DIR" || refuse "the run directory cannot be entered: $HOTSWAP_RUN_DIR"; }}
"""
SCRIPT = """
# Use the interpreter that the script's first line names, otherwise bash.
IFS= read -r shebang < {script} || true
set -- /bin/bash
case $shebang in '#!'*)
  read -r program argument <<< "${{shebang#??}}"
  set -- "$program" ${{argument:+"$argument"}} ;;
esac
set -- "$@" {script}
"""
ONE = """
finish() {{
  # Only the note shows that a job succeeded, so a job whose note cannot be written fails.
  if ! {{ printf '%s\\n' "$1" > "$key_dir/exit.new" && mv -f "$key_dir/exit.new" "$key_dir/exit"; }}; then
    echo "hotswap: the job's end cannot be written, disk or quota full? $key_dir" >&2
    exit $(($1 ? $1 : 1))
  fi
  notify
  exit "$1"
}}
lock_start "$key_dir/job.log"
for earlier in "${{key_dir%-e*}}"-e*; do [ "$earlier" = "$key_dir" ] || wait_for_earlier_try "$earlier/job.log"; done
export HOTSWAP_OUTPUT="$key_dir/output"
if [ -s "$key_dir/exit" ]; then
  noted=$(cat "$key_dir/exit")
  [ "$requeued" -gt 0 ] && [ -e "$key_dir/signalled" ] || ! end_counts "$noted" || exit "$noted"
{keep}fi
reason=$key_dir/reason
rm -f "$key_dir/exit" "$key_dir/signalled" "$reason"
{output}
row=
enter_run_dir || finish 1
{command}
work "$@"
ended=$?
[ -z "${{last_signal-}}" ] || : > "$key_dir/signalled"
finish "$ended"
"""
ELEMENTS = """
# Run the elements of this array index one after the other; each notes its end as the name of a file.
has_ended() {{
  for noted in "$key_dir/ends/$1".*; do
    [ -e "$noted" ] || continue
    noted=${{noted##*.}}
    # Slurm had stopped the element, and it may not have been done: after a requeue it runs again.
    case $noted in *s) noted=${{noted%s}}; [ "$requeued" -eq 0 ] || continue ;; esac
    end_counts "$noted" || continue
    [ "$noted" -eq 0 ] || worst=$noted
    return 0
  done
  return 1
}}
lock_start "$key_dir/logs/$SLURM_ARRAY_TASK_ID"
for earlier in "${{key_dir%-e*}}"-e*; do
  [ "$earlier" != "$key_dir" ] && {{ read -r _ base < "$earlier/rows"; }} 2> /dev/null || continue
  wait_for_earlier_try "$earlier/logs/$(({index} - base))"
done
reason=/dev/null
first=$(({index} * {chunk}))
last=$((first + {chunk} - 1))
[ "$last" -lt {count} ] || last=$(({count} - 1))
enter_run_dir || exit 1
{command}
worst=0
for ((element = first; element <= last; element++)); do
  row=$(sed -n "$((element + 1)){{p;q}}" "$key_dir/table")
  [ "$row" != - ] || continue
  export HOTSWAP_OUTPUT="$key_dir/out/$element" SWEEP_INDEX=$element SWEEP_COUNT={count}
  # Only an element that began before can have ended: a search in ten thousand ends for each element would be slow.
  began=
  for mark in "$HOTSWAP_OUTPUT" "$key_dir/saved/$element"; do [ ! -e "$mark" ] || began=yes; done
  [ -z "$began" ] || ! has_ended "$element" || continue
  # A signal that ends the job, or warns it, also ends the elements that have not begun; their saved output stays.
  case ${{last_signal-}} in
    TERM) worst=143; break ;;
{on_warning}  esac
{keep}  [ -z "$began" ] || rm -f "$key_dir/ends/$element".*
  : > "$HOTSWAP_OUTPUT"
{output}  work "$@"
  ended=$?
  # An element that fails because its job is ended did not fail by itself; only Slurm knows whether a 0 is a good end.
  mark=
  case ${{last_signal-}}:$ended in TERM:0) mark=s ;; TERM:{status}) ;; TERM:*) ended=143 ;; esac
  : > "$key_dir/ends/$element.$ended$mark" || ended=1
  [ "$ended" -eq 0 ] || worst=$ended
done
rm -f "$key_dir/run.$SLURM_JOB_ID" "$key_dir/task.$SLURM_JOB_ID" "$key_dir/enter.$SLURM_JOB_ID"
notify
exit "$worst"
"""
ON_WARNING = """\
    {signal})
      # Elements that have not begun are marked as saved, too, and run in the same later job.
      for ((; element <= last; element++)); do
        [ "$(sed -n "$((element + 1)){{p;q}}" "$key_dir/table")" != - ] && ! has_ended "$element" || continue
        rm -f "$key_dir/ends/$element".*
        : >> "$key_dir/out/$element" > "$key_dir/ends/$element.{status}"
      done
      worst={status}
      break ;;
"""
KEEP = """\
  # Saved, then requeued: keep the output from before the save, because this start may not reach its end.
  [ "$noted" -ne {status} ] || mv -f "$HOTSWAP_OUTPUT" "$key_dir/saved" 2> /dev/null
"""
KEEP_LINES = """\
  [ ! -e "$key_dir/ends/$element.{status}" ] ||
    {{ mkdir -p "$key_dir/saved" && mv -f "$HOTSWAP_OUTPUT" "$key_dir/saved/$element"; }} 2> /dev/null
"""
SAVED_LINES = """\
  for before in {before}; do
    [ ! -e "$key_dir/../$before/ends/$element.{status}" ] || [ ! -s "$key_dir/../$before/out/$element" ] ||
      cp -f "$key_dir/../$before/out/$element" "$HOTSWAP_OUTPUT" 2> /dev/null
  done
"""
SAVED_HERE = """\
  [ ! -s "$key_dir/saved/$element" ] || cp -f "$key_dir/saved/$element" "$HOTSWAP_OUTPUT" 2> /dev/null
"""
