"""The programs that make the folders of runs on a cluster, with the workflow's files in them."""

from __future__ import annotations

from hotswap_airflow.cluster.remote.programs import PROLOGUE

LAYOUT = (
    PROLOGUE
    + """\
umask 022
# The folders of runs, each once: with real copies of the workflow's files, whole or not at all. For every line
# `folder pack` one of answer.
say() { printf '%s\\n' "$*"; exit 0; }
# A run that goes on with a newer version gets its files over those it has, each by a rename, once.
renew() {
  (
    cd ".hotswap/packs/$pack" &&
      find . -type d -exec sh -c 'for d; do mkdir -p -- "$0/$d" || exit; done' "$here/$run" {} + &&
      find . ! -type d -exec sh -c '
        for f; do cp -P -- "$f" "$0/$f.hotswap-$$" && mv -fT -- "$0/$f.hotswap-$$" "$0/$f" || exit; done
      ' "$here/$run" {} + &&
      printf '%s\\n' "$pack" >> "$here/$run/.hotswap-run"
  ) 2> /dev/null || say "error the newer files cannot be laid over the older ones: $here/$run"
}
lay_out() {
  folder=$1 pack=$2
  run=runs/$folder
  if [ -e "$run/.hotswap-run" ]; then
    # Its time tells when the folder was last needed.
    touch -c -- "$run/.hotswap-run" 2> /dev/null
    [ -n "$pack" ] && [ -s "$run/.hotswap-run" ] && ! grep -qxF -- "$pack" "$run/.hotswap-run" ||
      say "ready $here/$run"
    [ -d ".hotswap/packs/$pack" ] || say missing
    renew
    say "ready $here/$run"
  fi
  [ -z "$pack" ] || [ -d ".hotswap/packs/$pack" ] || say missing
  mkdir -p -- "${run%/*}"
  new=$(mktemp -d ".hotswap/run.XXXXXX") || say "error the run's folder cannot be made: disk or quota full?"
  if [ -n "$pack" ]; then
    cp -R -- ".hotswap/packs/$pack/." "$new" || { rm -rf -- "$new"; say "error the workflow's files cannot be copied"; }
  fi
  chmod 755 "$new"
  printf '%s\\n' "${pack:--}" > "$new/.hotswap-run"
  mv -T -- "$new" "$run" 2> /dev/null || rm -rf -- "$new"
  [ -e "$run/.hotswap-run" ] || say "error the run's folder cannot be made: $here/$run"
  say "ready $here/$run"
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
