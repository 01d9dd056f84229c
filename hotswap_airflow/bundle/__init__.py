"""The DAGs folder as a versioned bundle whose Dag files are workflow YAML.

It is enough to name ``hotswap_airflow.bundle.WorkflowFolder`` in ``[dag_processor] dag_bundle_config_list``: the import
of this package registers the importer and lets the dag-processor find YAML below our own store.
"""

from hotswap_airflow.bundle import discovery
from hotswap_airflow.bundle.folder import WorkflowFolder
from hotswap_airflow.bundle.generated import load_stub, maintenance_dags
from hotswap_airflow.bundle.importer import WorkflowImporter, register

__all__ = ["WorkflowFolder", "WorkflowImporter", "load_stub", "maintenance_dags"]

discovery.install()
register()
