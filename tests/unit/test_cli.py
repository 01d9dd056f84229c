"""The command line and its page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from hotswap_airflow.cli import build_parser

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"


def _commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield words
    for group in groups:
        for name, below in group.choices.items():
            yield from _commands(below, (*words, name))


def test_every_command_is_on_its_page() -> None:
    page = PAGE.read_text()
    commands = list(_commands(build_parser()))
    assert len(commands) > 10
    missing = [command for command in commands if f"`hotswap {command[0]}" not in page or command[-1] not in page]
    assert missing == []
