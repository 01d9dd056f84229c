"""All tiers use the public fixtures of the product, and an Airflow home of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

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

from hotswap_airflow.testing import processes  # noqa: E402 - see above

pytest_plugins = ["hotswap_airflow.testing.fixtures"]

_DAEMONS = {"slurm_sandbox", "postgres", "accounted", "clusters", "lab", "strict_lab"}
"""Fixtures that start programs which outlive a test."""
_STRICT = ("test_kills.py", "test_ownership.py")
"""The tests whose Airflow has one worker slot, and whose daemons are killed."""


class OneWorkerAnAirflow(LoadScopeScheduling):
    """Gives all tests of one Airflow to one worker of pytest-xdist, so that there are no more than two of them."""

    def _split_scope(self, nodeid: str) -> str:
        return _airflow_of(nodeid) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Our own distribution, in the order of ``pytest_collection_modifyitems``."""
    config.option.loadscopereorder = False
    return OneWorkerAnAirflow(config, log)


def _airflow_of(nodeid: str) -> str:
    if not nodeid.startswith("tests/integration/"):
        return ""
    return "strict" if any(f"/{name}::" in nodeid for name in _STRICT) else "calm"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that needs daemons."""
    if _DAEMONS & set(getattr(item, "fixturenames", ())) or _transport(item) != "fake":
        item.add_marker(pytest.mark.daemons)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what lasts."""
    turns = {"strict": 0, "calm": 1, "": 3}
    items.sort(key=lambda item: 2 if "/chaos/" in item.nodeid else turns[_airflow_of(item.nodeid)])


def _transport(item: pytest.Item) -> str:
    """What the fixture ``bench`` of the contract suite stands on."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("bench", "fake")) if callspec is not None else "fake"


def _process() -> tuple[object, ...]:
    return os.geteuid(), Path.cwd(), Path(_HOME).is_dir(), sys.getrecursionlimit()


_PROCESS = _process()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test leaves the process as it was; else those after it fail for reasons of its own."""
    yield
    now = _process()
    assert now == _PROCESS, f"{item.nodeid} left the process changed: {now}, not {_PROCESS}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that starts a daemon must say so, or `make fast` would not be fast."""

    def refuse(name: str, *_: object) -> None:
        raise AssertionError(f"this test starts {name}; mark it with `daemons`")

    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("daemons") is None:
            patch.setattr(processes, "start", refuse)
        return (yield)
