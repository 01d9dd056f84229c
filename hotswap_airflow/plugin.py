"""The Airflow plugin."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class HotswapPlugin(AirflowPlugin):
    """What hotswap adds to Airflow's web server."""

    name = "hotswap"
