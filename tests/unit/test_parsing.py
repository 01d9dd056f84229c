"""Answers of Slurm, as it writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow import errors
from hotswap_airflow.slurm import parsing


@pytest.mark.parametrize(
    ("said", "unknown"),
    [("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
     ("sbatch: error: Unable to contact slurm controller (connect failure)", True),
     ("sbatch: error: Batch job submission failed: Invalid partition name specified", False), ("", False)],
)  # fmt: skip
def test_which_refusals_may_be_none(said: str, unknown: bool) -> None:
    assert parsing.outcome_is_unknown(said) is unknown


def test_squeue_and_sacct_lines() -> None:
    (job,) = parsing.parse_squeue("12|RUNNING|None|n1|a|b\n\n")
    assert (job.job_id, job.name, job.status.nodes) == ("12", "a|b", "n1")
    one, two = parsing.parse_sacct("12|CANCELLED by 0|0:15|None assigned|alps|a\n13|COMPLETED+|x|n|alps|b\n")
    assert (one.status.by, one.status.signal, two.status.state, two.status.exit_status) == ("0", 15, "COMPLETED", None)


@pytest.mark.parametrize("parse", [parsing.parse_squeue, parsing.parse_sacct])
def test_a_line_that_is_cut_off_is_an_error_and_no_state(parse: object) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        list(parse("12|RUNN"))  # type: ignore[operator]


@given(st.text(max_size=300))
def test_whatever_is_said_is_read_or_an_error(said: str) -> None:
    for parse in (parsing.parse_squeue, parsing.parse_sacct):
        try:
            list(parse(said))
        except errors.UnreadableAnswer as error:
            assert str(error)
