"""All tiers use the public fixtures of the product, and an Airflow home of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
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

from hotswap_airflow.testing import processes  # noqa: E402 - see above

pytest_plugins = ["hotswap_airflow.testing.fixtures"]

_DAEMONS = {"slurm_sandbox", "postgres", "accounted", "clusters", "lab", "strict_lab"}
"""Fixtures that start programs which outlive a test."""
_GROUPS = ("strict_lab", "lab")
"""Those that all tests of a run share: their tests go to one worker, one after the other, and first."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that needs daemons, and keep those of one Airflow together."""
    names = set(getattr(item, "fixturenames", ()))
    if names & _DAEMONS or _transport(item) != "fake":
        item.add_marker(pytest.mark.daemons)
    group = next((name for name in _GROUPS if name in names), None)
    if group is not None:
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what lasts."""
    items.sort(key=_turn)


def _transport(item: pytest.Item) -> str:
    """What the fixture ``bench`` of the contract suite stands on."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("bench", "fake")) if callspec is not None else "fake"


def _turn(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    return next((turn for turn, name in enumerate(_GROUPS) if name in names), 2 + ("chaos" not in item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that starts a daemon must say so, or `make fast` would not be fast."""

    def refuse(name: str, *_: object) -> None:
        raise AssertionError(f"this test starts {name}; mark it with `daemons`")

    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("daemons") is None:
            patch.setattr(processes, "start", refuse)
        return (yield)
