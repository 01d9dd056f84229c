"""The expressions of ``if``: references, numbers, quoted text and comparisons. Nothing else can be written or run.

::

    condition  = conjunction ("or" conjunction)*
    conjunction = negation ("and" negation)*
    negation   = "not" negation | comparison
    comparison = operand (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in") operand)?
    operand    = reference | number | quoted text | "true" | "false" | "null" | "(" condition ")"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotswap_airflow.workflow.spec.references import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.]))
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<word>[A-Za-z_][\w.-]*)
    | (?P<sign>==|!=|<=|>=|<|>|\(|\))
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_KEYWORDS = {"and", "or", "not", "in"}
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">=", "in"}
_MEANT = {"=>": ">=", "=<": "<=", "=": "==", "&&": "and", "||": "or", "!": "not", "<>": "!="}
_MOST_LEVELS = 50


class ExpressionFault(ValueError):
    """A text is no expression: what is wrong, and the remedy."""

    def __init__(self, words: str, remedy: str) -> None:
        self.words, self.remedy = words, remedy
        super().__init__(words)


class NotComparable(ValueError):
    """Two values have no order, or a value holds nothing; the text names them."""


@dataclass(frozen=True)
class Constant:
    """A number, a text, true, false or null."""

    value: Any


@dataclass(frozen=True)
class Operation:
    """An operator with its operands: one for ``not``, two for all others."""

    name: str
    operands: tuple[Expression, ...]


Expression = Constant | Reference | Operation


def parse_expression(text: str) -> Expression:
    """Read an expression. Raises ``ExpressionFault``.

    >>> parse_expression("params.n >= 2")
    Operation(name='>=', operands=(Reference(kind='param', name='n', job=None), Constant(value=2)))
    """
    parser = _Parser(text)
    found = parser.condition(0)
    if parser.token is not None:
        raise parser.unexpected()
    return found


def references(expression: Expression) -> Iterator[Reference]:
    """The references of an expression, from left to right."""
    if isinstance(expression, Reference):
        yield expression
    elif isinstance(expression, Operation):
        for operand in expression.operands:
            yield from references(operand)


def is_true(expression: Expression, value_of: Callable[[Reference], Any]) -> bool:
    """Whether a condition holds. False, null, 0 and what is empty do not hold. Raises ``NotComparable``."""
    return bool(_value(expression, value_of))


def _value(expression: Expression, value_of: Callable[[Reference], Any]) -> Any:
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Reference):
        return value_of(expression)
    first, *rest = expression.operands
    left = _value(first, value_of)
    if expression.name == "not":
        return not left
    if expression.name in {"and", "or"}:
        return left if bool(left) == (expression.name == "or") else _value(rest[0], value_of)
    return _compared(expression.name, left, _value(rest[0], value_of))


def _compared(name: str, left: Any, right: Any) -> bool:
    if name in {"==", "!="}:
        return _are_equal(left, right) == (name == "==")
    if left is None or right is None:  # no value: the job that makes it did not succeed
        return False
    if name == "in":
        return _is_in(left, right)
    if not (_are_numbers(left, right) or (isinstance(left, str) and isinstance(right, str))):
        raise NotComparable(f"{left!r} {name} {right!r} compares two kinds of values")
    if name in {"<", "<="}:
        return bool(left < right or (name == "<=" and left == right))
    return bool(left > right or (name == ">=" and left == right))


def _are_equal(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _is_in(left: Any, right: Any) -> bool:
    if isinstance(right, (list, dict)):
        return any(_are_equal(left, item) for item in right)
    if isinstance(left, str) and isinstance(right, str):
        return left in right
    raise NotComparable(f"{left!r} in {right!r}: the right side is neither a list, a map nor a text")


class _Parser:
    """Reads one token ahead."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0
        self.kind, self.token = "", None
        self.advance()

    token: str | None

    def advance(self) -> None:
        rest = self.text[self.position :]
        if not rest.strip():
            self.kind, self.token = "", None
            return
        match = _TOKEN.match(self.text, self.position)
        if match is None or match[0].strip() + self.text[match.end() :][:1] == "<>":
            raise self.unknown(rest.strip())
        self.kind, self.token = str(match.lastgroup), match[str(match.lastgroup)]
        self.position = match.end()

    def unknown(self, rest: str) -> ExpressionFault:
        sign = next((sign for sign in _MEANT if rest.startswith(sign)), "")
        if sign:
            return ExpressionFault(f"`{self.text}` has `{sign}`", f"write `{_MEANT[sign]}`")
        words = f"`{self.text}` has `{rest[0]}`, which an expression cannot have"
        if rest[0] in "\"'":
            return ExpressionFault(f"`{self.text}` has a quote that is never closed", "close the quote")
        remedy = (
            "there is no arithmetic; compute the value in a job"
            if rest[0] in "+-*/%"
            else "use references, numbers, quoted text, == != < <= > >= in and or not ( )"
        )
        return ExpressionFault(words, remedy)

    def unexpected(self) -> ExpressionFault:
        if self.token is None:
            return ExpressionFault(f"`{self.text}` ends too early", 'write for example `params.mode == "full"`')
        if self.token in _COMPARISONS:
            return ExpressionFault(
                f"`{self.text}` has `{self.token}` without a value before it, or a second comparison",
                "join comparisons by `and`",
            )
        return ExpressionFault(
            f"`{self.text}` cannot be read from `{self.token}` on", "join conditions by `and` or `or`"
        )

    def take(self, *tokens: str) -> str | None:
        """The next token if it is one of these words or signs."""
        if self.kind in {"word", "sign"} and self.token in tokens:
            taken = self.token
            self.advance()
            return taken
        return None

    def condition(self, depth: int) -> Expression:
        found = self.conjunction(depth)
        while self.take("or"):
            found = Operation("or", (found, self.conjunction(depth)))
        return found

    def conjunction(self, depth: int) -> Expression:
        found = self.negation(depth)
        while self.take("and"):
            found = Operation("and", (found, self.negation(depth)))
        return found

    def negation(self, depth: int) -> Expression:
        if depth > _MOST_LEVELS:
            raise ExpressionFault(f"an expression with more than {_MOST_LEVELS} levels", "nest less")
        if self.take("not"):
            return Operation("not", (self.negation(depth + 1),))
        return self.comparison(depth)

    def comparison(self, depth: int) -> Expression:
        left = self.operand(depth)
        if sign := self.take(*_COMPARISONS):
            return Operation(sign, (left, self.operand(depth)))
        if self.take("not"):
            if not self.take("in"):
                raise self.unexpected()
            return Operation("not", (Operation("in", (left, self.operand(depth))),))
        return left

    def operand(self, depth: int) -> Expression:
        if self.take("("):
            found = self.condition(depth + 1)
            if not self.take(")"):
                raise ExpressionFault(f"`{self.text}` has a `(` that is never closed", "add `)`")
            return found
        if self.token is None or self.kind == "sign" or self.token in _KEYWORDS:
            raise self.unexpected()
        kind, token = self.kind, self.token
        self.advance()
        if kind == "number":
            return Constant(int(token) if token.lstrip("+-").isdecimal() else float(token))
        return Constant(token[1:-1]) if kind == "text" else self.word(token)

    def word(self, token: str) -> Expression:
        if token in _WORDS:
            return Constant(_WORDS[token])
        if reference := parse_reference(token):
            return reference
        remedy = f'quote it: "{token}", or write `params.NAME`, `jobs.JOB.OUTPUT`, `jobs.JOB.state` or `environment`'
        if token.lower() in {*_WORDS, *_KEYWORDS}:
            remedy = f"write `{token.lower()}`"
        raise ExpressionFault(f"`{token}` in `{self.text}` is no reference", remedy)
