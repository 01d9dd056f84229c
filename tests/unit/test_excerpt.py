"""The line of the file below a problem, and the mark under its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.cli.excerpt import read_text, shown_problem
from hotswap_airflow.errors import Problem


def _shown(text: str, line: int, column: int, code: str = "wrong-type", *, colour: bool = False) -> list[str]:
    problem = Problem("f", line, column, code, "oh", "do")
    head, *rest = shown_problem(problem, text, colour=colour).split("\n")
    if not colour:
        assert head == str(problem)
    return rest if not colour else [head, *rest]


@pytest.mark.parametrize(
    ("line", "column", "shown", "mark"),
    [
        ("a: x", 4, "a: x", "   ^"),
        ("\ta: x", 5, "\ta: x", "\t   ^"),
        ("a:\tx", 4, "a:\tx", "  \t^"),
        ("温度: x", 5, "温度: x", "      ^"),
        ("ｆｕ: x", 5, "ｆｕ: x", "      ^"),
        ("e\u0301té: x", 6, "e\u0301té: x", "    ^"),
        ("a\u200b\x1b[31m: x", 9, "a\ufffd\ufffd[31m: x", "        ^"),
        ("\ufeffa: x", 5, "\ufeffa: x".replace("\ufeff", "\ufffd"), "    ^"),
        ("", 1, "", "^"),
        ("a:", 3, "a:", "  ^"),
    ],
)
def test_the_mark_is_under_the_column(line: str, column: int, shown: str, mark: str) -> None:
    assert _shown(f"# one\n{line}\n", 2, column) == [f"    2 | {shown}", f"      | {mark}"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_the_reader_of_yaml_sees_them(end: str) -> None:
    assert _shown(f"a: 1{end}\x0cb: \u2028x{end}c: 3{end}", 3, 4) == ["    3 | c: 3", "      |    ^"]


@pytest.mark.parametrize("column", [1, 60, 119, 300, 801])
def test_of_a_long_line_the_part_around_the_place_is_shown(column: int) -> None:
    text = "x" * (column - 1) + "Y" + "z" * (800 - column)
    shown, mark = _shown(text[:800], 1, column)
    assert len(shown) <= 8 + 122
    assert shown[mark.index("^") :][:1] == ("Y" if column <= 800 else "")


@given(st.text(max_size=300), st.integers(1, 4), st.integers(1, 400))
def test_whatever_a_file_holds_three_lines_are_shown_or_one(text: str, line: int, column: int) -> None:
    shown = shown_problem(Problem("f", line, column, "wrong-type", "oh", "do"), text, colour=False)
    assert len(shown.splitlines()) in {1, 3}
    assert "\033" not in shown


def test_a_place_that_the_file_does_not_have_shows_no_line() -> None:
    assert _shown("a: 1\n", 0, 0) == []
    assert _shown("a: 1\n", 7, 1) == []


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("x:\n  hunter2\n", 2, "secret-plaintext"),
        ("secrets:\n  db:\n    connection: lab\n\n    value: hunter2\n", 5, "unknown-key"),
        ("jobs:\n  a:\n    env:\n      DB_PASSWORD:\n        - hunter2\n", 5, "wrong-type"),
        ("jobs: {a: {env: {2X: y, api_key: hunter2}}}\n", 1, "name-invalid"),
        ('{"secrets": {"db": "hunter2"}, "tags": 1}\n', 1, "wrong-type"),
        ("with:\n  password : hunter2\n", 2, "conflict"),
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(text: str, line: int, code: str) -> None:
    assert _shown(text, line, 1, code) == []


def test_jobs_about_tokens_are_no_secrets() -> None:
    assert _shown("jobs:\n  tokenize:\n    run: [x]\n", 3, 10) == ["    3 |     run: [x]", "      |          ^"]
    assert _shown('jobs:\n  a:\n    run: echo "$SECRET_TOKEN"\n', 3, 10) != []


def test_colour_is_for_the_code_and_the_margin() -> None:
    red, dim, plain = "\033[31m", "\033[2m", "\033[0m"
    assert _shown("a: 1\n", 1, 4, colour=True) == [
        f"f:1:4: {red}wrong-type{plain}: oh; do", f"{dim}    1 |{plain} a: 1", f"{dim}      |{plain}    ^",
    ]  # fmt: skip


def test_a_note_is_not_red() -> None:
    assert _shown("", 0, 0, "ignored", colour=True) == ["f: ignored: oh; do"]


def test_a_file_is_read_whatever_bytes_it_holds(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: \xe9t\xe9\n")
    assert read_text(str(tmp_path / "f")) == "a: \ufffdt\ufffd\n"
    assert read_text(str(tmp_path / "gone")) == ""
