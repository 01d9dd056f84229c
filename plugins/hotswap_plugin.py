"""Registers the plugin where the package is on the path but was not installed with its entry points."""

from hotswap_airflow.plugin import HotswapPlugin

__all__ = ["HotswapPlugin"]
