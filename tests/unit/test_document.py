from __future__ import annotations

import json
import string
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.errors import Problem, SpecError
from hotswap_airflow.workflow.text.document import Place, read_document


def _data(text: str) -> object:
    return read_document(text.encode(), "w.hotswap.yaml").data


def _problems(text: str | bytes) -> Sequence[Problem]:
    with pytest.raises(SpecError) as caught:
        read_document(text if isinstance(text, bytes) else text.encode(), "w.hotswap.yaml")
    return caught.value.problems


def _problem(text: str | bytes) -> tuple[int, int, str]:
    first = _problems(text)[0]
    return first.line, first.column, first.code


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", "on"), ("yes", "yes"), ("2026-01-01", "2026-01-01"), ("01:30:00", "01:30:00"), ("1e3", 1000.0),
     ("true", True), ("True", "True"), ("~", None), ("0x1f", 31), ("0o17", 15), ("017", 17),
     ("'1'", "1"), ("1_000", "1_000")],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert _data(f"a: {text}") == {"a": value}


_texts = st.text(alphabet=string.ascii_letters + " -_äß日#:", max_size=12)
_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_texts, _trees, min_size=1, max_size=5))
def test_json_reads_as_itself(tree: dict[str, object]) -> None:
    raw = json.dumps(tree, ensure_ascii=False, indent=1).encode()
    assert read_document(raw, "w.hotswap.json").data == tree


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_answer_is_a_document_or_problems(raw: bytes) -> None:
    try:
        document = read_document(raw, "w.hotswap.yaml")
    except SpecError as error:
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
    else:
        assert document.root is not None


@given(st.text(alphabet="ab:- \n\t[]{}\"'#&*!|>1", max_size=80))
def test_whatever_the_text_the_answer_is_a_document_or_problems(text: str) -> None:
    try:
        read_document(text.encode(), "w.hotswap.yaml")
    except SpecError as error:
        assert error.problems


def test_places_count_characters_and_not_the_mark_of_the_order() -> None:
    document = read_document("\ufeffä: {日本: x, b: [1, 2]}\n".encode(), "w.hotswap.yaml")
    assert document.key_place(("ä",)) == Place(1, 1)
    assert document.value_place(("ä", "日本")) == Place(1, 9)
    assert document.key_place(("ä", "b")) == Place(1, 12)
    assert document.value_place(("ä", "b", 1)) == Place(1, 19)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\n", (2, 1, "duplicate-key")),
        ("a: !x 1\n", (1, 4, "yaml-tag")),
        ("a:\n\tb: 1\n", (2, 1, "yaml-tab")),
        ("a: [1, 2\n", (1, 4, "yaml-unclosed")),
        ("a: 'x\n", (1, 4, "yaml-unclosed")),
        ("a: {b: [1\n", (1, 4, "yaml-unclosed")),
        ("---\na: 1\n---\nb: 2\n", (3, 1, "multiple-documents")),
        ("# only words\n", (1, 1, "empty-file")),
        ("a: *b\n", (1, 4, "yaml-syntax")),
        ("? [a]\n: 1\n", (1, 3, "wrong-type")),
        (b"a: \xff\n", (1, 4, "not-utf8")),
        ("a: b\nc:d\n", (2, 1, "yaml-colon-space")),
    ],
)
def test_what_cannot_be_read_is_shown_where_it_stands(text: str | bytes, expected: tuple[int, int, str]) -> None:
    assert _problem(text) == expected


def test_deep_files_and_bombs_end_in_a_problem() -> None:
    assert _problem("[" * 5000 + "]" * 5000)[2] == "yaml-syntax"
    bomb = "a: &a [1,2,3,4,5,6,7,8,9,10]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(6)
    )
    assert _problem(bomb)[2] == "yaml-alias-limit"


_OLD_BREAKS = "\x85\u2028\u2029"


@pytest.mark.parametrize("char", [*_OLD_BREAKS])
def test_what_was_a_line_break_in_yaml_1_1_is_a_character(char: str) -> None:
    for text in (f"a: x{char}y", f"a: 'x{char}y'", f'a: "x{char}y"', f"a: |-\n  x{char}y"):
        assert _data(f"{text}\nb: 1\n") == {"a": f"x{char}y", "b": 1}
    assert _data(f"x{char}y: 1") == {f"x{char}y": 1}
    assert _problem(f"a: x{char}y\nb: [{char}\n")[:2] == (2, 4)


@given(st.text(alphabet=f"ab \ue000\ue001{_OLD_BREAKS}", min_size=1, max_size=20))
def test_lines_are_counted_by_line_feeds_alone(text: str) -> None:
    document = read_document(f"a: 'x{text}x'\nb: 1\n".encode(), "w.hotswap.yaml")
    assert document.data == {"a": f"x{text}x", "b": 1}
    assert document.key_place(("b",)) == Place(2, 1)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("  a: {run: echo Step 1: start}", 23, "run: 'echo Step 1: start'"),
        ("  run: echo Step 1: start # first", 19, "run: 'echo Step 1: start'"),
        ("  a: {run: echo 'x', description: QC: count, env: {}}", 37, "description: 'QC: count'"),
        ('  a:\n    run: echo "Step 1: start"', 22, "run: 'echo \"Step 1: start\"'"),
        ("  a:\n    run: it's 1: 2", 16, "run: 'it''s 1: 2'"),
        ("  a:\n    description: note:\n    run: x", 22, "description: 'note:'"),
        ("  - run: a: b", 11, "run: 'a: b'"),
    ],
)
def test_a_colon_in_a_plain_value_is_shown_with_what_to_write(text: str, column: int, said: str) -> None:
    (problem,) = _problems(f"hotswap: workflow/v1\njobs:\n{text}\n")
    assert (problem.column, problem.code) == (column, "yaml-syntax")
    assert problem.remedy == f"quote the value, or use `|`: `{said}`"


@pytest.mark.parametrize(
    ("text", "place", "words", "remedy"),
    [
        ("    gres: gpu: 1", (4, 14), "value of `gres`", "write it without a space: `gres: gpu:1`"),
        (
            '    run: echo "Step 1:\n      start"',
            (4, 22),
            "value of `run`",
            "quote the whole value, or use `|` and write it below",
        ),
        (
            "    run:\n      set -e\n      echo Step: 1",
            (6, 16),
            "text of `run`",
            "begin it with `|`: `run: |`, and all",
        ),
        ("    run: set -e\n      echo 'Step: 1'", (5, 17), "text of `run`", "begin it with `|`: `run: |`, and all"),
    ],
)
def test_a_colon_elsewhere_is_shown_with_what_helps(text: str, place: tuple[int, int], words: str, remedy: str) -> None:
    (problem,) = _problems(f"hotswap: workflow/v1\njobs:\n  a:\n{text}\n")
    assert (problem.line, problem.column) == place
    assert problem.message.startswith(f"the {words} holds a colon")
    assert problem.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("schedule: @daily # at midnight", 11, "'@daily'"),
        ("jobs: {a: {run: `date`, env: {}}}", 17, "'`date`'"),
        ("name: %x", 7, "'%x'"),
    ],
)
def test_a_value_that_begins_with_a_character_of_yaml_is_shown_with_what_to_write(
    text: str, column: int, said: str
) -> None:
    (problem,) = _problems(f"hotswap: workflow/v1\n{text}\n")
    assert (problem.line, problem.column, problem.code) == (2, column, "yaml-syntax")
    assert problem.message.endswith(f"a value cannot begin with `{said[1]}`")
    assert problem.remedy == f"quote it: `{said}`"


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ('  a:\n    run: "$TOOL" --fast', 18, "run: '\"$TOOL\" --fast'"),
        ("  a:\n    run: 'my tool' 'a' # c", 20, "run: '''my tool'' ''a'''"),
    ],
)
def test_text_after_a_closing_quote_is_shown_with_what_to_write(text: str, column: int, said: str) -> None:
    (problem,) = _problems(f"hotswap: workflow/v1\njobs:\n{text}\n")
    assert (problem.line, problem.column, problem.code) == (4, column, "yaml-syntax")
    assert problem.message.endswith("text after the closing quote of `run`")
    assert problem.remedy == f"quote the whole value, or use `|`: `{said}`"
    assert _data(f"{said}\n")


def test_a_pair_of_surrogates_in_json_is_one_character() -> None:
    text = b'{"a": "\\ud83d\\ude00!", "b": "\\u00e9"}'
    assert read_document(text, "w.hotswap.json").data == {"a": "\U0001f600!", "b": "\u00e9"}
