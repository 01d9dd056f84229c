"""``hotswap schema``: the JSON Schema of workflow and site files, for editors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hotswap_airflow.workflow.spec.json_schema import schema_text

if TYPE_CHECKING:
    import argparse


def add_command(commands: Any) -> None:
    """Add the command."""
    schema = commands.add_parser("schema", help="print the JSON Schema of workflow or site files, for editors")
    schema.add_argument("kind", choices=("workflow", "site"), help="the kind of file")
    schema.set_defaults(action=_schema)


def _schema(arguments: argparse.Namespace) -> int:
    sys.stdout.write(schema_text(arguments.kind))
    return 0
