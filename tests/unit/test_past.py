"""What the tries of a job came to, and which one is found or made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.slurm.history.past import End, Past, Try, adopting_epoch, choose_generation, past_of
from hotswap_airflow.slurm.retry import SAVED, WAVE, WHEN_ASKED, Retry

ELEMENTS = st.frozensets(st.integers(0, 99_999))


@given(
    st.sampled_from(["FAILED", "COMPLETED", WAVE]),
    st.sampled_from([(), ("JobFailed",), ("JobTimedOut", "JobFailed")]),
    ELEMENTS,
    ELEMENTS,
    st.sampled_from([(), ("n1",), ("n1", "gpu-2")]),
)
def test_an_end_is_read_as_it_was_written(
    state: str, errors: tuple[str, ...], lost: frozenset[int], again: frozenset[int], nodes: tuple[str, ...]
) -> None:
    end = End("3 1", state, errors, lost, again, nodes, errors[1:])
    assert End.read(end.words) == end
    assert "\n" not in end.words


def test_an_end_without_its_last_words_is_read() -> None:
    assert End.read("1 0 COMPLETED") == End("1 0", "COMPLETED")
    assert End.read(" ") is None


@pytest.mark.parametrize(
    ("tries", "asked", "expected"),
    [
        ([], "1 0", 0),
        ([Try(1, 0)], "1 0", 0),  # only of another epoch
        ([Try(0, 0)], "2 0", 0),  # not settled: adopted
        ([Try(0, 0, asked="1 0")], "2 0", 0),
        ([Try(0, 0, asked="1 0", adopt="1 0")], "2 1", 0),  # given back by a person
        ([Try(0, 0, end=End.read("1 0 FAILED"))], "1 0", 0),  # told to the same try
        ([Try(0, 0, end=End.read("1 0 FAILED"))], "2 0", 1),
        ([Try(0, 0, end=End.read("1 0 COMPLETED"))], "2 0", 0),
        ([Try(0, 0, end=End.read("1 0 COMPLETED"))], "2 1", 1),  # given back after it was told
        ([Try(0, 0, end=End.read("1 0 FAILED")), Try(0, 1)], "2 0", 1),
        ([Try(0, 0, is_cancelled=True)], "2 0", 1),
        ([Try(0, 0, is_cancelled=True, end=End.read("1 0 COMPLETED"))], "1 0", 1),
        ([Try(0, 0, is_cancelled=True, end=End.read("1 0 PENDING JobNeverStarts"))], "1 0", 0),
        ([Try(0, 0, is_void=True, end=End.read("1 0 COMPLETED"))], "2 0", 1),  # a person wants all of it anew
    ],
)
def test_the_generation_of_a_try(tries: list[Try], asked: str, expected: int) -> None:
    assert choose_generation(tries, 0, asked, WHEN_ASKED) == expected


@pytest.mark.parametrize(
    ("ends", "asked", "expected"),
    [
        (["1 0 FAILED JobFailed"], "2 0", 0),  # told to a worker that died with it
        (["1 0 FAILED JobFailed"], "2 1", 1),  # given back by a person, and run again
        (["1 0 FAILED"], "2 0", 1),
        (["1 0 CANCELLED JobCancelled"], "2 0", 0),
        (["1 0 NODE_FAIL JobNodeFailed"], "2 0", 1),
        (["1 0 NODE_FAIL JobNodeFailed", "2 0 NODE_FAIL JobNodeFailed"], "3 0", 2),
        (["1 0 NODE_FAIL JobNodeFailed"] * 2 + ["3 0 NODE_FAIL JobNodeFailed"], "4 0", 2),  # twice is enough
        ([f"1 0 {WAVE} JobNodeFailed", f"1 0 {WAVE} JobNodeFailed", "1 0 FAILED JobNodeFailed"], "2 0", 3),
        ([f"1 0 {SAVED}", "1 0 FAILED JobFailed"], "2 0", 1),
        (["1 0 FAILED JobFailed,JobNodeFailed"], "2 0", 0),  # of a sweep, the first was told
        (["1 0 FAILED JobNodeFailed,JobFailed"], "2 0", 1),
    ],
)
def test_a_failure_that_is_not_tried_again_is_told_again(ends: list[str], asked: str, expected: int) -> None:
    tries = [Try(0, number, end=End.read(words)) for number, words in enumerate(ends)]
    assert choose_generation(tries, 0, asked, Retry()) == expected


@given(
    st.lists(st.sampled_from(["JobFailed", "JobNodeFailed", "JobTimedOut", ""]), min_size=9),
    st.sets(st.sampled_from(["failed", "node_fail"])),
    st.integers(0, 4),
    st.lists(st.booleans(), min_size=30),
)
def test_as_many_jobs_run_as_the_rule_says_however_many_news_are_lost(
    ends: list[str], kinds: set[Any], most: int, is_lost: list[bool]
) -> None:
    rule, tries = Retry(frozenset(kinds), most), list[Try]()
    for number, lost in enumerate(is_lost, 1):
        asked = f"{number} 0"
        generation = choose_generation(tries, 0, asked, rule)
        error = ends[generation]
        end = End(asked, "FAILED", (error,)) if error else End(asked, "COMPLETED")
        tries[generation:] = [Try(0, generation, end=end)]
        if not lost and not rule.covers(error, generation):
            break
    wanted = next(ran for ran, error in enumerate(ends, 1) if not error or not rule.covers(error, ran - 1))
    assert len(tries) == wanted


def test_parts_of_a_sweep_count_as_one_try_and_one_failure() -> None:
    recorded_end = [
        (0, "1 0 FAILED JobNodeFailed"),
        (1, f"2 0 {WAVE} JobOutOfMemory"),
        (2, f"2 0 {WAVE} -"),
        (3, "2 0 FAILED JobOutOfMemory"),
        (4, f"3 0 {SAVED}"),
        (5, f"3 0 {WAVE} JobTimedOut"),
    ]
    tries = {f"g{number}": Try(0, number, end=End.read(words)) for number, words in recorded_end}
    past = past_of(tries, 0, 6)
    assert past.failures == (("JobNodeFailed",), ("JobOutOfMemory",))
    assert past.parts == ("JobTimedOut",)
    assert past.saved == ("g1", "g2", "g4", "g5")
    assert past.starts == 3
    assert past_of(tries, 0, 3).parts == ("JobOutOfMemory",)
    assert past_of(tries, 1, 0).failures == ()
    void = {digest: replace(one, is_void=True) for digest, one in tries.items()}
    assert past_of(void, 0, 6) == Past(starts=3)
    assert past_of(tries, 0, 3).recorded_end == End.read("2 0 FAILED JobOutOfMemory")
    assert [number for number in range(6) if past_of(tries, 0, number).recorded_end] == [0, 3]


@pytest.mark.parametrize(
    ("one", "epoch", "asked", "expected"),
    [
        (Try(0, 0, asked="1 0", adopt="1 0"), 1, "2 1", 0),  # the first clear after the mark
        (Try(0, 0, asked="2 1", adopt="1 0"), 1, "3 1", 0),  # another try of the same clear
        (Try(0, 0, asked="2 1", adopt="1 0"), 2, "3 2", 2),  # a later clear begins anew
        (Try(1, 0, asked="2 1", adopt="2 1"), 0, "1 0", 0),  # a try that was left behind
        (Try(0, 0, asked="1 0", adopt="1 0", rows="a"), 1, "2 1", 1),  # a sweep of other points
        (Try(0, 0, asked="1 0", adopt="1 0", rows="b"), 1, "2 1", 0),
        (Try(0, 0, asked="1 0", adopt="1 0", is_cancelled=True), 1, "2 1", 1),
        (Try(0, 0, asked="1 0"), 1, "2 1", 1),
    ],
)
def test_what_a_person_gave_back_counts_for_one_clear(one: Try, epoch: int, asked: str, expected: int) -> None:
    assert adopting_epoch([one], epoch, asked, "b") == expected


def test_a_job_that_ended_before_its_task_took_it_up_again_is_not_run_again() -> None:
    given = Try(0, 0, asked="1 0", adopt="1 0")
    assert choose_generation([given], 0, "2 1", Retry()) == 0
