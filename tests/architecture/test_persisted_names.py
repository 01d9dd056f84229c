"""Names that stand in databases, on clusters and in people's configuration: a rename breaks what was written before.

Before the first release a name may still change, and this page with it.
"""

from __future__ import annotations

import pkgutil
from dataclasses import fields

import pytest
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger

from hotswap_airflow import bundle
from hotswap_airflow.bundle import generated
from hotswap_airflow.dag_builder.maintenance_dags import MAINTENANCE_DAGS
from hotswap_airflow.domain.cluster_target import ClusterTarget
from hotswap_airflow.file_store import versions
from hotswap_airflow.operators import run_identity
from hotswap_airflow.operators.workflow import VERDICT
from hotswap_airflow.provider_info import get_provider_info
from hotswap_airflow.settings import BUNDLE, OPTIONS
from hotswap_airflow.slurm import causes, identity, retry
from hotswap_airflow.slurm.array_state import PROGRESS_KEY
from hotswap_airflow.slurm.history.past import End
from hotswap_airflow.slurm.identity import JobKey, RunKey, key_folder
from hotswap_airflow.triggers.job import REQUEST_KEY

TRIGGERS = {
    "hotswap_airflow.triggers.job.SlurmJobTrigger",
    "hotswap_airflow.triggers.foreign_job.AwaitJobTrigger",
    "hotswap_airflow.triggers.reconcile.ReconcileTrigger",
    "hotswap_airflow.triggers.retention.RetentionTrigger",
}
"""In Airflow's table of triggers."""
OPERATORS = {
    "hotswap_airflow.operators.slurm.SlurmJobOperator",
    "hotswap_airflow.operators.workflow.WorkflowJobOperator",
    "hotswap_airflow.operators.workflow.RunVerdictOperator",
    "hotswap_airflow.operators.maintenance.ReconcileOperator",
    "hotswap_airflow.operators.maintenance.RetentionOperator",
    "hotswap_airflow.sensors.slurm.SlurmSensor",
}
"""In serialized Dags."""


def test_classes_that_airflow_keeps_by_path() -> None:
    for path in TRIGGERS:
        assert issubclass(pkgutil.resolve_name(path), BaseTrigger)
    for path in OPERATORS:
        assert issubclass(pkgutil.resolve_name(path), BaseOperator)
    info = get_provider_info()
    modules = {
        m for kind in ("operators", "sensors", "triggers") for entry in info[kind] for m in entry["python-modules"]
    }
    assert {path.rpartition(".")[0] for path in TRIGGERS | OPERATORS} <= modules
    assert BUNDLE == "hotswap_airflow.bundle.WorkflowFolder"
    assert pkgutil.resolve_name(BUNDLE) is bundle.WorkflowFolder


def test_what_generated_files_call() -> None:
    assert pkgutil.resolve_name("hotswap_airflow.bundle.load_stub") is generated.load_stub
    assert pkgutil.resolve_name("hotswap_airflow.bundle.maintenance_dags") is generated.maintenance_dags
    assert generated.MAINTENANCE_FILE == "hotswap_maintenance.py"
    assert versions.dag_file("w") == ".served/w.hotswap.yaml"
    assert versions.MANIFEST == ".hotswap-manifest.json"


def test_keys_of_xcoms_and_of_task_state() -> None:
    assert (REQUEST_KEY, PROGRESS_KEY, run_identity.NONCE_KEY) == (
        "hotswap_request",
        "hotswap_progress",
        "hotswap_run",
    )
    assert VERDICT == "_verdict"
    assert [entry.dag_id for entry in MAINTENANCE_DAGS] == ["hotswap-reconcile", "hotswap-retention"]


def test_what_stands_on_clusters() -> None:
    key = JobKey(RunKey("0a1b", "w", "dev", "r", "n"), "fit")
    assert key.job_name.startswith("w.fit.hs-0a1b.")
    assert identity.is_named_by(key.job_name, "0a1b")
    assert key_folder("0123456789abcdef0123-e2-g1") == ".hotswap/jobs/012/0123456789abcdef0123-e2-g1"
    assert (retry.SAVED, retry.WAVE, retry.SAVED_STATUS) == ("SAVED", "WAVE", 85)
    end = End.read("1 0 FAILED JobFailed 3-5 - - -")
    assert (end.state, end.errors, sorted(end.lost)) == ("FAILED", ("JobFailed",), [3, 4, 5])


@pytest.mark.parametrize("name", ["JobFailed", "JobTimedOut", "JobOutOfMemory", "JobCancelled", "JobPreempted"])
def test_names_of_errors_in_notes(name: str) -> None:
    assert causes.error_class(name).__name__ == name


def test_a_note_of_a_later_version_counts_as_a_plain_failure() -> None:
    assert causes.error_class("JobOfTheFuture").__name__ == "JobFailed"


def test_fields_of_values_in_the_database() -> None:
    assert [field.name for field in fields(ClusterTarget)] == [
        "connection",
        "workdir",
        "slurm_cluster",
        "monitor",
        "poll",
        "queue",
    ]
    assert [option.name for option in OPTIONS] == [
        "store_path",
        "site",
        "environment",
        "reconcile",
        "finish_in",
        "discovery",
    ]
