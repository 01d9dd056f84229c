"""The login to Airflow of the person who uses the command line."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    import argparse

    from hotswap_airflow.airflow_client import RestClient

_URL, _TOKEN, _USER, _PASSWORD = (f"HOTSWAP_AIRFLOW_{name}" for name in ("URL", "TOKEN", "USER", "PASSWORD"))
_HERE = "http://localhost:8080"


def add_airflow_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option for the address of Airflow."""
    words = f"Airflow's address (default: ${_URL}, or {_HERE}); the login is ${_TOKEN}, or ${_USER} and ${_PASSWORD}"
    parser.add_argument("--airflow", metavar="URL", help=words)


def log_in(url: str | None) -> RestClient:
    """A client of Airflow with the person's login. Raises ``SetupError``."""
    from hotswap_airflow.airflow_client import RestClient

    address = url or os.environ.get(_URL) or _HERE
    if token := os.environ.get(_TOKEN):
        return RestClient(address, token=token)
    user, password = os.environ.get(_USER), os.environ.get(_PASSWORD)
    if user and password is None and sys.stdin.isatty():
        password = getpass.getpass(f"password of {user} at {address}: ")
    if not user or password is None:
        raise SetupError(f"no login to Airflow is given; set {_TOKEN}, or {_USER} and {_PASSWORD}")
    return RestClient(address, user=user, password=password)
