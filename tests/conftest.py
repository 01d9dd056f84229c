"""All tiers use the public fixtures of the product, and an Airflow home of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

# Before anything imports Airflow, which reads and writes there.
_HOME = tempfile.mkdtemp(prefix="hotswap-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["XDG_STATE_HOME"] = f"{_HOME}/state"

# No test fails because a machine is slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["hotswap_airflow.testing.fixtures"]
