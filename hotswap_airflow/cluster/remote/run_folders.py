"""The programs that make the folders of runs on a cluster, with the workflow's files in them."""

from __future__ import annotations

from hotswap_airflow.cluster.remote.programs import PROLOGUE

LAYOUT = (
    PROLOGUE
    + """\
umask 022
# Make the folders of runs, each once, complete or not at all, with real copies of the workflow's files. Each line
# `folder pack` gets one line of answer.
reply() { printf '%s\\n' "$*"; exit 0; }
# If a run continues with a newer version, its files replace the run's older files, each by a rename, once.
replace_files() {
  (
    cd ".hotswap/packs/$pack" &&
      find . -type d -exec sh -c 'for d; do mkdir -p -- "$0/$d" || exit; done' "$here/$run" {} + &&
      find . ! -type d -exec sh -c '
        for f; do cp -P -- "$f" "$0/$f.hotswap-$$" && mv -fT -- "$0/$f.hotswap-$$" "$0/$f" || exit; done
      ' "$here/$run" {} + &&
      printf '%s\\n' "$pack" >> "$here/$run/.hotswap-run"
  ) 2> /dev/null || reply "error the run's files cannot be replaced by the newer ones: $here/$run"
}
lay_out() {
  folder=$1 pack=$2
  run=runs/$folder
  if [ -e "$run/.hotswap-run" ]; then
    # The time of this file shows when the folder was last needed.
    touch -c -- "$run/.hotswap-run" 2> /dev/null
    [ -n "$pack" ] && [ -s "$run/.hotswap-run" ] && ! grep -qxF -- "$pack" "$run/.hotswap-run" ||
      reply "ready $here/$run"
    [ -d ".hotswap/packs/$pack" ] || reply missing
    replace_files
    reply "ready $here/$run"
  fi
  [ -z "$pack" ] || [ -d ".hotswap/packs/$pack" ] || reply missing
  mkdir -p -- "${run%/*}"
  new=$(mktemp -d ".hotswap/run.XXXXXX") || reply "error the run's folder cannot be made: disk or quota full?"
  if [ -n "$pack" ]; then
    cp -R -- ".hotswap/packs/$pack/." "$new" ||
      { rm -rf -- "$new"; reply "error the workflow's files cannot be copied"; }
  fi
  chmod 755 "$new"
  printf '%s\\n' "${pack:--}" > "$new/.hotswap-run"
  mv -T -- "$new" "$run" 2> /dev/null || rm -rf -- "$new"
  [ -e "$run/.hotswap-run" ] || reply "error the run's folder cannot be made: $here/$run"
  reply "ready $here/$run"
}
begin
while read -r folder pack; do
  (lay_out "$folder" "$pack" < /dev/null) || printf "error the run's folder cannot be made: %s\\n" "$here/runs/$folder"
done
end
"""
)

UNPACK = (
    PROLOGUE
    + """\
umask 022
# Store the workflow's files, once for each cluster and digest; the archive is on stdin.
pack=.hotswap/packs/$1
new=$(mktemp -d ".hotswap/pack.XXXXXX") || reply "error the workflow's files cannot be stored: disk or quota full?"
if ! said=$(tar -x -f - -C "$new" 2>&1); then
  rm -rf -- "$new"
  reply "error the workflow's files cannot be stored: $said"
fi
mv -T -- "$new" "$pack" 2> /dev/null || rm -rf -- "$new"
[ -d "$pack" ] || reply "error the workflow's files cannot be stored"
reply stored
"""
)
