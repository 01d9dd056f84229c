"""Finds the variables that a bash text uses and sets, as far as possible without running it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"(?:PARAM|INPUT|OUTPUT|SWEEP|SECRET)_[A-Za-z0-9_]+"
"""The names that a workflow file declares. All other names belong to the script and are not checked."""
_MENTIONED = re.compile(_NAME)
_USE = re.compile(rf"(?<!\$)\$(?:\{{[#!]?)?({_NAME})")
_OWN_WORD = re.compile(r"\$\{[A-Za-z0-9_]+(?:\[[^]]*\])?(:?[-+=])")
_PLAIN = re.compile(
    rf"(?:^|[\s;&|(){{`\"'])({_NAME})(?:\[[^]]*\])?\+?=(?!\"?\$\{{?\1\b)",  # not if it only passes its own value on
    re.MULTILINE,
)
_TESTED = re.compile(rf"\$\{{({_NAME})(?:\[[^]]*\])?:?[-+]|(?<!\w)-v\s+({_NAME})\b")
"""A text that tests whether a variable is set is expected to work without the variable."""
_DEFAULT = re.compile(rf"\$\{{({_NAME}):?=")
_LOOP = re.compile(rf"\b(?:for|select|coproc)\s+({_NAME})\b")
_REDIRECTION = re.compile(rf"\{{({_NAME})\}}[<>]")
_INTO_NAMES = re.compile(
    r"(?:^|[\s;&|({`!])(?:builtin\s+|command\s+)?"
    r"(?:read|mapfile|readarray|getopts|printf\s+-v|wait|let|declare|typeset|local|readonly)\b([^\n;|&<>()]*)",
    re.MULTILINE,
)
_BARE = re.compile(rf"(?<![$\w{{])({_NAME})\b")
_ARITHMETIC = re.compile(r"\(\((.*?)\)\)", re.DOTALL)
_EQUALS = re.compile(rf"(?<!\w)({_NAME})(?:\[[^]]*\])?\s*=(?!=)")
_SOURCE = re.compile(
    r"""(?:^|[\s;&|({`])(?:source|\.)[ \t]+((?:"[^"\n]*"|'[^'\n]*'|[^\s;&|<>()"'])+)""",
    re.MULTILINE,
)
_UNSEEN = re.compile(r"(?:^|[\s;&|({`])(?:(?:source|\.)[ \t]+<\(|eval\b[^\n;&|]*[$`])", re.MULTILINE)
"""Code that runs as part of the text but is made by a command, so that it cannot be read here."""
_HERE = re.compile(r"""^(?:\$\{?HOTSWAP_RUN_DIR\}?/|\$PWD/|\$\(pwd\)/|\./)+""")
_KNOWN = re.compile(r"(?:^|[ \t;])#[ \t]*hotswap:[ \t]*known[ \t]+(.*)$", re.MULTILINE)
_HEREDOC = re.compile(r"<<-?[ \t]*(?P<word>(?:'[^'\n]*'|\"[^\"\n]*\"|\\.|[^\s;&|<>()'\"\\])+)")


@dataclass(frozen=True)
class Use:
    """A variable that a text expands. ``line`` and ``column`` are the place of its ``$`` and count from 1."""

    name: str
    line: int
    column: int


def mentioned(text: str) -> dict[str, set[str]]:
    """All names of variables that a workflow file may declare and that stand anywhere in a text, by their prefix.

    >>> mentioned("echo $PARAM_A '$INPUT_B'")
    {'PARAM': {'PARAM_A'}, 'INPUT': {'INPUT_B'}}
    """
    found: dict[str, set[str]] = {}
    for name in _MENTIONED.findall(text):
        found.setdefault(name.partition("_")[0], set()).add(name)
    return found


def uses(text: str) -> list[Use]:
    """The variables that bash expands without a default of their own, in order.

    Text in single quotes, in comments, and in here-documents with a quoted delimiter is skipped.
    """
    seen = _Reader(text).read()
    found = []
    for match in _USE.finditer(seen):
        if _OWN_WORD.match(seen, match.start()) is None:
            before = seen[: match.start()]
            found.append(Use(match[1], before.count("\n") + 1, match.start() - before.rfind("\n")))
    return found


def assigned(text: str) -> set[str]:
    """The variables that a text sets in any way that bash has.

    Also those that it tests for being set, and those that it names in a comment ``# hotswap: known``.
    """
    found = {name for line in _KNOWN.findall(text) for name in line.replace("$", " ").replace(",", " ").split()}
    code = _Reader(text, keeps_quoted=True).read()
    for pattern in (_PLAIN, _DEFAULT, _LOOP, _REDIRECTION):
        found.update(pattern.findall(code))
    found.update(name for pair in _TESTED.findall(code) for name in pair if name)
    for arguments in _INTO_NAMES.findall(code):
        found.update(_BARE.findall(arguments))
    for expression in _ARITHMETIC.findall(code):
        found.update(_EQUALS.findall(expression))
    return found


def sourced(text: str) -> list[str | None]:
    """The files that a text reads by ``source``, relative to the run directory.

    None stands for each absolute path, and for each file or code that is only known when the text runs.
    """
    code = _Reader(text, keeps_quoted=True).read()
    return [_path(word) for word in _SOURCE.findall(code)] + [None for _ in _UNSEEN.findall(code)]


def _path(word: str) -> str | None:
    path = _HERE.sub("", re.sub("[\"']", "", word))
    return None if not path or path.startswith(("/", "~")) or "$" in path or "`" in path else path


@dataclass
class _Reader:
    """Reads a text once and replaces each character that bash does not expand by a space; line breaks stay.

    With ``keeps_quoted``, quoted text is kept: only comments, continued line breaks, and escaped characters in
    here-documents are replaced.
    """

    text: str
    keeps_quoted: bool = False
    at: int = 0
    inside: list[str] = field(default_factory=list)
    pending: list[tuple[str, bool, bool]] = field(default_factory=list)
    out: list[str] = field(default_factory=list)

    def read(self) -> str:
        """The text with the parts that bash does not expand replaced by spaces."""
        while self.at < len(self.text):
            self._step()
        return "".join(self.out)

    def _step(self) -> None:
        char = self.text[self.at]
        if char == "\\":
            self._blank(2)
        elif char == "\n":
            self._take(1)
            self._heredocs()
        elif self.inside[-1:] == ['"']:
            self._in_double_quotes(char)
        elif char == "'":
            self._single_quotes(1)
        elif self.text.startswith("$'", self.at):
            self._single_quotes(2)
        elif char == "#" and self._begins_word:
            end = self.text.find("\n", self.at)
            self._drop((end if end >= 0 else len(self.text)) - self.at)
        else:
            self._open_or_close(char)

    def _in_double_quotes(self, char: str) -> None:
        if char == '"':
            self.inside.pop()
            self._take(1)
        elif self.text.startswith("$(", self.at):
            self._enter("(", 2)
        else:
            self._take(1)

    def _open_or_close(self, char: str) -> None:
        if char == '"':
            self._enter('"', 1)
        elif self.text.startswith("${", self.at):
            self._enter("{", 2)
        elif self.text.startswith("((", self.at):
            self._enter("((", 2)
        elif char == "(":
            self._enter("(", 1)
        elif char == ")" and self.inside[-1:] in (["("], ["(("]):
            self._take(2 if self.inside.pop() == "((" else 1)
        elif char == "}" and self.inside[-1:] == ["{"]:
            self.inside.pop()
            self._take(1)
        else:
            self._redirection()

    def _redirection(self) -> None:
        """Take the start of a here-document, whose body begins in the next line, or any other character."""
        match = _HEREDOC.match(self.text, self.at) if self.inside[-1:] != ["(("] else None
        if match is not None:
            word = match["word"]
            is_quoted = any(quote in word for quote in "'\"\\")
            self.pending.append((re.sub(r"['\"\\]", "", word), is_quoted, match[0].startswith("<<-")))
            self._take(len(match[0]))
        else:
            self._take(3 if self.text.startswith("<<<", self.at) else 1)

    @property
    def _begins_word(self) -> bool:
        return self.inside[-1:] not in (["{"], ["(("]) and (self.at == 0 or self.text[self.at - 1] in " \t\n;&|(`")

    def _enter(self, what: str, count: int) -> None:
        self.inside.append(what)
        self._take(count)

    def _single_quotes(self, opening: int) -> None:
        end = self.at + opening
        while end < len(self.text) and self.text[end] != "'":
            end += 2 if opening == 2 and self.text[end] == "\\" else 1  # noqa: PLR2004 - the length of $'
        self._blank(min(end + 1, len(self.text)) - self.at)

    def _heredocs(self) -> None:
        """Take the bodies of the here-documents that began in the line before."""
        for word, is_quoted, has_tabs in self.pending:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end + 1
                line = self.text[self.at : end].rstrip("\n")
                (self._blank if is_quoted or line.strip() == word else self._expanded)(end - self.at)
                if (line.lstrip("\t") if has_tabs else line) == word:
                    break
        self.pending.clear()

    def _expanded(self, count: int) -> None:
        """Take a line of a here-document. Bash expands it, even inside quotes."""
        self.out.append(re.sub(r"\\.", "  ", self.text[self.at : self.at + count]))
        self.at += count

    def _take(self, count: int) -> None:
        self.out.append(self.text[self.at : self.at + count])
        self.at += count

    def _blank(self, count: int) -> None:
        if self.keeps_quoted and self.text.startswith("\\\n", self.at):  # the line continues
            self.out.append("  ")
            self.at += 2
        elif self.keeps_quoted:
            self._take(count)
        else:
            self._drop(count)

    def _drop(self, count: int) -> None:
        self.out.append(re.sub(r"[^\n]", " ", self.text[self.at : self.at + count]))
        self.at += count
