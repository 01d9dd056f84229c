"""The expressions of ``if``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.workflow.expression import (
    ExpressionFault,
    NotComparable,
    is_true,
    parse_expression,
    references,
)
from hotswap_airflow.workflow.spec.references import Reference

VALUES: dict[str, Any] = {
    "params.n": 3, "params.mode": "full", "params.yes": True, "params.list": ["a", 2], "params.empty": "",
    "jobs.fit.rmse": 0.2, "jobs.fit.state": "success", "jobs.gone.value": None, "jobs.a-b.c-d": -1, "environment": "dev",
}  # fmt: skip


def _holds(text: str) -> bool:
    return is_true(parse_expression(text), lambda reference: VALUES[str(reference)])


@pytest.mark.parametrize(
    "text",
    [
        "true", "not false", "params.n == 3", "params.n == 3.0", "3 == params.n", "params.n > 2 and params.n <= 3",
        'params.mode == "full"', "params.mode != 'quick'", "params.yes", "not params.empty", "params.n",
        "jobs.fit.rmse < 0.5", "jobs.fit.rmse > -1", 'jobs.fit.state == "success"', "jobs.gone.value == null",
        "not jobs.gone.value > 0", "not jobs.gone.value in params.list", "jobs.a-b.c-d == -1", 'environment == "dev"',
        "'a' in params.list", "2 in params.list", '"ul" in params.mode', "3 not in params.list", "true or false and false",
        "(true or false) and true", "not (true and false)", "not true or true", "params.yes != 1", "1 != true",
        'params.mode < "g"', "1e3 == 1000", ".5 < 1",
    ],
)  # fmt: skip
def test_what_holds(text: str) -> None:
    assert _holds(text)
    assert not _holds(f"not ({text})")


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("", "ends too early", "for example"), ("params.n ==", "ends too early", "for example"),
        ("params.n => 2", "`=>`", ">="), ("params.n = 2", "`=`", "=="), ("params.n <> 2", "`<>`", "!="),
        ("params.n && true", "`&&`", "and"), ("! params.n", "`!`", "not"), ("params.n + 1 > 2", "`+`", "no arithmetic"),
        ("params.n - 1", "`-`", "no arithmetic"), ("(params.n", "never closed", "add `)`"), ("params.n)", "`)`", "join"),
        ('params.mode == "full', "never closed", "close the quote"), ("full", "`full`", "quote it"),
        ("params", "`params`", "params.NAME"), ("True", "`True`", "true"), ("1 < 2 < 3", "second comparison", "`and`"),
        ("params.n not 3", "cannot be read", "join"), ("and true", "`and`", "join"), ("params.n 3", "`3`", "join"),
        ("jobs.fit", "`jobs.fit`", "jobs.JOB.OUTPUT"), ("not " * 60 + "true", "levels", "nest less"),
        ("(" * 60 + "true" + ")" * 60, "levels", "nest less"), ("params.n == \u201cfull\u201d", "\u201c", "quoted text"),
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str, words: str, remedy: str) -> None:
    with pytest.raises(ExpressionFault) as caught:
        parse_expression(text)
    assert words in caught.value.words
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("text", ["params.mode > 2", "params.yes < 3", "params.list < params.list", "1 in params.n"])
def test_values_of_two_kinds_have_no_order(text: str) -> None:
    with pytest.raises(NotComparable):
        _holds(text)


def test_references_from_left_to_right() -> None:
    found = list(references(parse_expression("jobs.a.b > params.c and not environment == sweep.x")))
    assert [str(reference) for reference in found] == ["jobs.a.b", "params.c", "environment", "sweep.x"]
    assert found[0] == Reference("output", "b", "a")


_constants = st.one_of(st.booleans(), st.integers(-9, 9), st.none(), st.sampled_from(["a", "b c"]))


def _written(value: object) -> str:
    words = {True: "true", False: "false", None: "null"}
    return (
        words[value]
        if value is None or isinstance(value, bool)
        else f'"{value}"'
        if isinstance(value, str)
        else str(value)
    )


_trees = st.recursive(
    _constants.map(lambda value: (_written(value), bool(value))),
    lambda inner: st.one_of(
        inner.map(lambda a: (f"not ({a[0]})", not a[1])),
        st.tuples(inner, inner).map(lambda ab: (f"({ab[0][0]}) and ({ab[1][0]})", ab[0][1] and ab[1][1])),
        st.tuples(inner, inner).map(lambda ab: (f"({ab[0][0]}) or ({ab[1][0]})", ab[0][1] or ab[1][1])),
    ),
    max_leaves=8,
)


@given(_trees)
def test_logic_is_that_of_python(tree: tuple[str, bool]) -> None:
    assert is_true(parse_expression(tree[0]), lambda _: None) == tree[1]


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_fault(text: str) -> None:
    try:
        parse_expression(text)
    except ExpressionFault as fault:
        assert fault.words
        assert fault.remedy
