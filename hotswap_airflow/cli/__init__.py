"""The command line. It starts without importing Airflow. An error is printed as one line, not as a traceback."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from hotswap_airflow import __version__
from hotswap_airflow.cli.commands import (
    clusters,
    doctor,
    explain,
    jobs,
    orphans,
    plan,
    render,
    run,
    runs,
    sandbox,
    schema,
    validate,
)
from hotswap_airflow.errors import HotswapError, SetupError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

MISUSE = 2
FAILURE = 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each command sets ``action``, a function that returns the exit status."""
    parser = argparse.ArgumentParser(prog="hotswap", description="Research workflows on Slurm clusters.")
    parser.add_argument("--version", action="version", version=f"hotswap {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (validate, explain, schema, plan, render, run, jobs, runs, orphans, sandbox, doctor, clusters):
        command.add_command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 failure, 2 misuse."""
    arguments = build_parser().parse_args(argv)
    try:
        status: int = arguments.action(arguments)
    except SpecError as error:
        print(error, file=sys.stderr)
        return FAILURE
    except SetupError as error:
        print(f"hotswap: {error}", file=sys.stderr)
        return MISUSE
    except HotswapError as error:
        print(f"hotswap: {error}", file=sys.stderr)
        return FAILURE
    except BrokenPipeError:
        sys.stderr.close()
        return FAILURE
    return status
