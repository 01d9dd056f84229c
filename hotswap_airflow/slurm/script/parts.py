"""The shell text of batch scripts, in pieces that ``slurm.script.render`` fills in and puts together."""

from __future__ import annotations

HEAD = """\
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
# Where it runs: a site or a federation may have sent it to another cluster than the one that was asked.
where=${{SLURM_WORKING_CLUSTER-}} where=${{where%%:*}}
[ -z "$where" ] || {{ read -r written < "$key_dir/cluster" && [ "$written" = "$where" ]; }} 2> /dev/null ||
  {{ printf '%s\\n' "$where" > "$new" && mv -f "$new" "$key_dir/cluster"; }}
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
WORK = """
# As a child, so that a signal reaches it at once: bash runs a trap only after a foreground child.
# Its variables are set in the child alone, so that none of them changes what is done here.
child= missed= witness=
# Slurm sends what ends a job to all its processes, and a warning to this shell alone. The witness is one more process:
# where it is gone, the child has had the signal, too, and must not get it again.
begin_witness() {{
  sleep infinity < /dev/null > /dev/null 2>&1 9>&- &
  witness=$!
  disown "$witness"
}}
trap '{{ [ -z "$witness" ] || kill "$witness"; }} 2> /dev/null' EXIT
went_to_all() {{
  sleep {doubt}
  ! kill -0 "$witness" 2> /dev/null && begin_witness
}}
forward() {{
  forwarded=yes last_signal=$1
  if [ -z "$child" ]; then missed=$1; elif ! went_to_all; then kill -s "$1" "$child" 2> /dev/null; fi
}}
work() {{
  [ -n "$witness" ] || begin_witness
{prepare}  for signal in {signals}; do trap "forward $signal" "$signal"; done
  (
{modules}eval "$row"
{exports}{hand_over}exec "$@"
  ) &
  child=$!
  forwarded=yes
  # It came when the one before was over, or when this one's number was not known yet.
  [ -z "$missed" ] || kill -s "$missed" "$child" 2> /dev/null
  missed=
  while [ -n "$forwarded" ]; do forwarded=; wait "$child"; status=$?; done
  child=
  [ "$status" -eq 0 ] || return "$status"
{check}  return 0
}}
enter() {{ cd -- "$HOTSWAP_RUN_DIR" || refuse "the run directory cannot be entered: $HOTSWAP_RUN_DIR"; }}
"""
SCRIPT = """
# The interpreter of its first line, or bash.
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
ELEMENTS = """
# The elements of this array index, one after the other; each notes its end by the name of a file.
has_ended() {{
  for noted in "$key_dir/ends/$1".*; do
    [ -e "$noted" ] || continue
    noted=${{noted##*.}}
    # Slurm had stopped it, and it may not have been done: a requeue begins it again.
    case $noted in *s) noted=${{noted%s}}; [ "$requeued" -eq 0 ] || continue ;; esac
    stands "$noted" || continue
    [ "$noted" -eq 0 ] || worst=$noted
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
  # What fails because its job is ended has not failed by itself; whether a 0 is a good end, Slurm knows.
  mark=
  case ${{last_signal-}}:$ended in TERM:0) mark=s ;; TERM:{status}) ;; TERM:*) ended=143 ;; esac
  : > "$key_dir/ends/$element.$ended$mark" || ended=1
  [ "$ended" -eq 0 ] || worst=$ended
done
rm -f "$key_dir/run.$SLURM_JOB_ID" "$key_dir/task.$SLURM_JOB_ID" "$key_dir/enter.$SLURM_JOB_ID"
tell
exit "$worst"
"""
ON_WARNING = """\
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
KEEP = """\
  # Saved, then requeued: what it wrote before it saved is kept, what it writes now may come to nothing.
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
