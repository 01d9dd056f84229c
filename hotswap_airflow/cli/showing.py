"""Parts of a plan as texts for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotswap_airflow.workflow.spec.references import Reference


def shown_reference(reference: Reference | None) -> str:
    """A value that is only known when the job starts, as ``plan`` and ``render`` show it."""
    if reference is None:
        return ""
    if reference.job is not None:
        return f"<jobs.{reference.job}.{reference.name}>"
    return f"<params.{reference.name}>" if reference.kind == "param" else f"<{reference.kind}>"
