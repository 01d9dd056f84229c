"""Research workflows on Slurm clusters, from Apache Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotswap_airflow.dag_builder.python_dags import load_workflow, workflow_group

__version__ = "0.1.0"
__all__ = ["__version__", "load_workflow", "workflow_group"]


def __getattr__(name: str) -> Any:
    """Import the functions for hand-written Dags at their first use: most processes need neither them nor Airflow."""
    if name not in {"load_workflow", "workflow_group"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hotswap_airflow.dag_builder import python_dags

    return getattr(python_dags, name)
