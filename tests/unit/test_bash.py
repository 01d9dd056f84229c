"""What a bash text uses and sets, held against bash itself where it can say so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.checks.scripts.bash import assigned, sourced, uses

SETS = [
    "INPUT_X=1", "INPUT_X+=1", "INPUT_X[3]=1", "INPUT_X=(a b)", "export INPUT_X=1", "declare -r INPUT_X=1", "readonly INPUT_X=1",
    "declare -A INPUT_X=([a]=1)", "typeset -i INPUT_X=1", "f() { local INPUT_X=1; echo $INPUT_X; }; INPUT_X=2; f",
    "read -r INPUT_X <<< a", "read -r -p 'name? ' OTHER INPUT_X <<< 'a b'", "IFS=, read -ra INPUT_X <<< a,b",
    "while read -r INPUT_X; do break; done < <(echo a)", "mapfile -t INPUT_X < <(echo a)", "readarray INPUT_X < /dev/null || INPUT_X=",
    "printf -v INPUT_X %s a", "set -- -a; getopts ab: INPUT_X", "let INPUT_X=1", "let 'INPUT_X = 1'", "(( INPUT_X = 1 ))",
    ": $(( INPUT_X = 3 ))", "for INPUT_X in a b; do :; done",
    "for ((INPUT_X=0; INPUT_X < 2; INPUT_X++)); do :; done", "for INPUT_X\ndo :; done; INPUT_X=", "select INPUT_X in a; do break; done <<< 1 2> /dev/null",
    ': "${INPUT_X:=a}"', ": ${INPUT_X=a}", "exec {INPUT_X}> /dev/null", "sleep 0 & wait -n -p INPUT_X", "coproc INPUT_X { sleep 1; }",
    "if INPUT_X=$(echo a); then :; fi", "{ INPUT_X=1; }", "true && INPUT_X=1", "case a in a) INPUT_X=1;; esac", "eval 'INPUT_X=1'", "INPUT_X=\\\n1", "read OTHER \\\n  INPUT_X <<< 'a b'", "case -i in -i)INPUT_X=1;; esac",
]  # fmt: skip


@pytest.mark.parametrize("text", SETS)
def test_every_way_in_which_bash_sets_a_variable_is_known(text: str) -> None:
    """Bash itself says that the variable is set after it."""
    script = f"set -u\n{text}\n: ${{INPUT_X[*]-}}\n[[ -v INPUT_X || -n ${{INPUT_X[*]+set}} ]] || (( ${{#INPUT_X[@]}} == 0 ))\n"
    assert subprocess.run(["bash", "-c", script], check=False, capture_output=True).returncode == 0
    assert "INPUT_X" in assigned(text)


@pytest.mark.parametrize(
    "text",
    [
        "awk '{ print $INPUT_X }' INPUT_X=2 /etc/hostname", "echo '$INPUT_X'", "echo $'a\\'$INPUT_X'", "# echo $INPUT_X", "true # $INPUT_X", 'echo "\\$INPUT_X"',
        "cat <<'EOS'\n$INPUT_X\nEOS", 'cat <<"EOS" > a\n$INPUT_X \'\nEOS\necho done', "cat <<\\EOS\n${INPUT_X}\nEOS", "cat <<-'EOS'\n\t$INPUT_X\n\tEOS",
        "cat <<'A' <<'B'\n$INPUT_X\nA\n$INPUT_X\nB", "echo ${INPUT_X:-results}", "echo ${INPUT_X-}", 'echo "${INPUT_X:+set}"', "echo \"$(awk '{print $INPUT_X}' a)\"",
        "bash -c 'echo $INPUT_X' INPUT_X", "echo $INPUT", "echo INPUT_X", "python3 - <<'END'\nprint('$INPUT_X')\nEND",
        "trap 'rm $INPUT_X' EXIT", "echo $$INPUT_X", "echo $((1 << 2)) '$INPUT_X'", "grep -c '#' a | sed 's/$INPUT_X//'",
    ],
)  # fmt: skip
def test_what_bash_does_not_expand_is_not_used(text: str) -> None:
    assert uses(text) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("echo $INPUT_X", (1, 6)), ('echo "a\n  $INPUT_X"', (2, 3)), ("cat <<EOS\nit's $INPUT_X\nEOS", (2, 6)), ("echo ${INPUT_X}", (1, 6)), ("echo ${#INPUT_X[@]}", (1, 6)),
        ("echo ${!INPUT_X}", (1, 6)), ("echo ${INPUT_X:?not set}", (1, 6)), ("echo ${INPUT_X%.txt}", (1, 6)), ("echo \"'$INPUT_X'\"", (1, 8)), ("echo a#$INPUT_X", (1, 8)),
        ('echo "$(echo "$INPUT_X")"', (1, 15)), ("echo it\\'s $INPUT_X", (1, 12)), ("cat <<< $INPUT_X", (1, 9)), ("echo ${OTHER:-$INPUT_X}", (1, 15)), ("echo $(( INPUT_Y + $INPUT_X ))", (1, 20)),
        ("cat <<'A'\nnone\nA\necho $INPUT_X", (4, 6)), ('echo "# $INPUT_X"', (1, 9)), ("case a in a) echo '';; b) echo $INPUT_X;; esac", (1, 32)),
    ],
)  # fmt: skip
def test_what_bash_expands_is_used_at_its_place(text: str, place: tuple[int, int]) -> None:
    (use,) = uses(text)
    assert (use.name, (use.line, use.column)) == ("INPUT_X", place)
    assert "INPUT_X" not in assigned(text)


@given(st.text(alphabet="'\"\\$({})`<#\n EOSINPUT_X=;|&-", max_size=60))
def test_whatever_the_text_it_is_read(text: str) -> None:
    for use in uses(text):
        assert text.split("\n")[use.line - 1][use.column - 1] == "$"
    assigned(text)
    sourced(text)


def _problems(folder: Path, run: str) -> list[str]:
    (folder / "other.sh").touch()
    body = "".join(f"      {line}\n" for line in run.split("\n"))
    text = f"hotswap: workflow/v1\nparams: {{size: 1}}\nfiles: ['*.sh']\njobs:\n  a:\n    run: |\n{body}"
    checked = check_workflow(text.encode(), "w.hotswap.yaml", DiskFolder(folder))
    return [f"{p.line}:{p.column}: {p.code}: {p.message}; {p.remedy}" for p in checked.problems]


def test_what_a_sourced_file_of_the_workflow_sets_is_known(tmp_path: Path) -> None:
    (tmp_path / "env.sh").write_text("INPUT_DIR=/data\n. ./more.sh\n")
    (tmp_path / "more.sh").write_text("SWEEP_KIND=b\n. env.sh\n")
    for how in (
        "source env.sh",
        ". ./env.sh",
        '. "$HOTSWAP_RUN_DIR/env.sh"',
        'source "${HOTSWAP_RUN_DIR}"/env.sh',
        "[ -n x ] && . 'env.sh'",
    ):
        assert _problems(tmp_path, f"{how}\necho $INPUT_DIR $SWEEP_KIND") == []
        (problem,) = _problems(tmp_path, f"{how}\necho $INPUT_DIRS")
        assert problem.startswith("8:12: variable-unknown: `$INPUT_DIRS`")


def test_where_somebody_elses_file_is_sourced_only_slips_are_told(tmp_path: Path) -> None:
    assert _problems(tmp_path, ". /opt/site/env.sh\necho $INPUT_DIR $PARAM_COLOUR") == []
    (problem,) = _problems(tmp_path, ". /opt/site/env.sh\necho $PARAM_SIZ")
    assert "did you mean `$PARAM_SIZE`?" in problem
    for text in (
        'eval "$(settings)"',
        "eval `settings`",
        "eval $(settings)",
        "source <(settings)",
        "true; . <(settings)",
    ):
        assert _problems(tmp_path, f"{text}\necho $INPUT_DIR") == []
    assert _problems(tmp_path, "eval 'true'\necho $INPUT_DIR") != []


def test_what_the_author_says_to_be_known_is(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, "echo '$INPUT_X' # $INPUT_X\n  echo $INPUT_X")
    assert problem == (
        "8:14: variable-unknown: `$INPUT_X` in jobs.a is not declared under `inputs`; declare it under `inputs`, "
        "or write `# hotswap: known INPUT_X` where the script gets it in another way"
    )
    assert _problems(tmp_path, "# hotswap: known INPUT_X, $OUTPUT_Y\necho $INPUT_X $OUTPUT_Y") == []
    assert _problems(tmp_path, "echo $INPUT_X # hotswap: known INPUT_X") == []


def test_who_tests_a_variable_knows_that_it_may_be_unset(tmp_path: Path) -> None:
    for test in ('[ -n "${INPUT_X:-}" ]', "[[ -v INPUT_X ]]", "test ${INPUT_X+set}"):
        assert _problems(tmp_path, f"if {test}; then echo $INPUT_X; fi") == []


def test_what_only_passes_a_variable_on_does_not_set_it(tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, "PARAM_SIZES=$PARAM_SIZES ./tool")
    assert problem.startswith("7:19: param-unknown: `$PARAM_SIZES`")
    assert "did you mean `$PARAM_SIZE`? Else write `# hotswap: known PARAM_SIZES`" in problem
