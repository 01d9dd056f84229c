"""How often a cluster is asked."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.cluster.watch.watched_job import Interval


def _pauses(interval: Interval, polls: int) -> list[float]:
    """The pauses of so many polls without news, after one that had some."""
    pauses = [interval.after(interval.longest, 0)]
    for silent in range(1, polls + 1):
        pauses.append(interval.after(pauses[-1], silent))
    return pauses


def test_pauses_grow_to_the_usual_one_and_after_a_long_silence_to_the_longest() -> None:
    pauses = _pauses(Interval(), 40)
    assert pauses[:7] == [2.0, 3.0, 4.5, 6.75, 10.125, 15.0, 15.0]
    assert pauses[Interval.patience - 1] == 15.0
    assert pauses[-1] == 60.0
    assert Interval().after(60.0, 0) == 2.0


@given(bounds=st.lists(st.floats(0.1, 1_000), min_size=3, max_size=3).map(sorted), polls=st.integers(1, 60))
def test_pauses_stay_within_the_bounds_of_the_site(bounds: list[float], polls: int) -> None:
    shortest, usual, longest = bounds
    pauses = _pauses(Interval(shortest, usual, longest), polls)
    assert all(earlier <= later for earlier, later in pairwise(pauses))
    assert shortest == pauses[0]
    assert pauses[-1] <= longest
    assert polls >= Interval.patience or pauses[-1] <= usual
