"""``hotswap explain``: what the code of a problem means, with an example and its correction."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli.excerpt import shown_problem, wants_colour
from hotswap_airflow.errors import SetupError
from hotswap_airflow.workflow.spec.vocabulary import nearest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hotswap_airflow.workflow.catalogue import Explanation

_WIDTH = 100


def add_command(commands: Any) -> None:
    """Add the command."""
    explain = commands.add_parser("explain", help="what an error code means, with an example and its correction")
    explain.add_argument(
        "code", nargs="?", metavar="CODE", help="for example yaml-tab; without it, all codes are listed"
    )
    explain.set_defaults(action=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from hotswap_airflow.workflow import catalogue  # it reads its data

    if arguments.code is None:
        width = max(map(len, catalogue.CODES))
        for code in catalogue.CODES:
            print(f"{code:{width}}  {catalogue.explain(code).summary}")
        return 0
    if arguments.code not in catalogue.CODES:
        near = nearest(arguments.code, catalogue.CODES)
        remedy = f"did you mean `{near}`?" if near else "`hotswap explain` lists all codes"
        raise SetupError(f"there is no error code `{arguments.code}`; {remedy}")
    print("\n\n".join(_parts(catalogue.explain(arguments.code))))
    return 0


def _parts(entry: Explanation) -> Iterator[str]:
    yield textwrap.fill(f"{entry.code}: {entry.meaning}", _WIDTH)
    if not entry.bad:
        return
    yield f"For example{_setting(entry)}:"
    yield _indented(entry.bad)
    yield "\n".join(shown_problem(found, entry.bad, colour=wants_colour()) for found in entry.problems_of(entry.bad))
    yield "Mended:"
    yield _indented(entry.good)


def _setting(entry: Explanation) -> str:
    """What belongs to an example besides its text."""
    from hotswap_airflow.workflow.catalogue import example_site

    site = f", for a site with the clusters {' and '.join(example_site().clusters)}"
    beside = f", beside {' and '.join(entry.files)}"
    byte = r", where \xNN is one byte"
    chosen = ((site, entry.has_site), (beside, entry.files), (byte, entry.has_bytes))
    return "".join(words for words, holds in chosen if holds)


def _indented(example: str) -> str:
    return textwrap.indent(example.rstrip("\n"), "    ")
