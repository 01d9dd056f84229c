"""The ``[hotswap]`` section as Airflow reads it."""

from __future__ import annotations

from pathlib import Path

from airflow.configuration import AIRFLOW_HOME
from airflow.providers.common.compat.sdk import conf

from hotswap_airflow.settings import SECTION, Settings, read_settings


def airflow_settings() -> Settings:
    """The section as typed settings. Raises ``SetupError``."""
    return read_settings(lambda key: conf.get(SECTION, key, fallback=None), Path(AIRFLOW_HOME))
