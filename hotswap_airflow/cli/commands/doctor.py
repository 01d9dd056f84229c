"""``hotswap doctor``: checks of the installation as this host sees it. Each problem has its remedy."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hotswap_airflow.cli import loading

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hotswap_airflow.cli.finding import Finding


def add_command(commands: Any) -> None:
    """Add ``doctor``."""
    doctor = commands.add_parser("doctor", help="check the installation: exit 0 no problem, 1 problems found")
    loading.add_site_argument(doctor)
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(action=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    findings = []
    part = ""
    for finding in _look(arguments.site):
        findings.append(finding)
        if not arguments.json:
            if finding.part != part:
                part = finding.part
                print(part)
            print(f"  {finding}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    problems = sum(finding.level == "problem" for finding in findings)
    if not arguments.json:
        print(f"{problems} problem(s), {sum(finding.level == 'warning' for finding in findings)} warning(s)")
    return 1 if problems else 0


def _look(site_file: str | None) -> Iterator[Finding]:
    from hotswap_airflow.cli import airflow_checks, cluster_checks, installation_checks

    yield from installation_checks.versions()
    yield from installation_checks.configuration()
    yield from installation_checks.store()
    yield from installation_checks.bundles()
    yield from airflow_checks.components()
    yield from cluster_checks.clusters(loading.site_path(site_file))
