"""When the folder of a run is removed: never unannounced, never while it is wanted."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.cluster.upkeep.retention import NOTICE_TIME, RunFolder, due, notice_of, removed_at
from hotswap_airflow.slurm.identity import RunKey

DAY = 86_400.0
RUN = RunKey("i", "fit", "dev", "r1", "n")
MOMENTS = st.floats(0, 400 * DAY)


@given(
    changed=MOMENTS,
    noticed=st.none() | MOMENTS,
    now=MOMENTS,
    retention=st.floats(DAY, 100 * DAY),
    is_finished=st.booleans(),
    is_kept=st.booleans(),
)
def test_only_what_is_over_and_was_announced_for_three_days_is_removed(
    changed: float, noticed: float | None, now: float, retention: float, is_finished: bool, is_kept: bool
) -> None:
    run = RunFolder(RUN, (), changed, noticed, is_kept)
    what = due(run, now, retention, is_finished=is_finished)
    assert due(replace(run, is_there=False), now, retention, is_finished=False) in {"nothing", "withdraw"}
    if what == "remove":
        assert is_finished
        assert not is_kept
        assert noticed is not None
        assert now >= changed + retention
        assert now >= noticed + NOTICE_TIME
    if not is_finished or is_kept:
        assert what == ("nothing" if noticed is None else "withdraw")


@given(changed=MOMENTS, retention=st.floats(DAY, 100 * DAY), late=st.floats(0, 50 * DAY))
def test_a_folder_that_nobody_wants_goes_when_its_notice_says(changed: float, retention: float, late: float) -> None:
    run = RunFolder(RUN, (), changed)
    first = changed + retention - NOTICE_TIME + late + 1
    assert due(run, first - late - 2, retention, is_finished=True) == "nothing"
    assert due(run, first, retention, is_finished=True) == "notice"
    announced, told = replace(run, noticed=first), removed_at(run, first, retention)
    assert due(announced, told - 1, retention, is_finished=True) == "nothing"
    assert due(announced, told + 1, retention, is_finished=True) == "remove"


def test_a_notice_says_the_day_and_what_to_do() -> None:
    words = notice_of(RunFolder(RUN, (), 0.0), 10 * DAY, 30 * DAY)
    assert words.startswith("On 1970-01-31 this folder is removed")
    assert words.endswith("for 30 days. To keep it: hotswap runs keep fit r1")
