"""sbatch options: what is taken, refused, and how it is quoted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.slurm import options
from hotswap_airflow.slurm.identity import JobKey, RunKey
from hotswap_airflow.slurm.request import JobRequest

RUN = RunKey("inst", "flow", "dev", "manual__2026-11-25T10:00:00+00:00", "n1")


KEY = JobKey(RUN, "fit")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("partition", "a,b", "a,b"), ("account", 7, "7"), ("time", 10, "00:10:00"), ("time", "2d", "2-00:00:00"),
        ("nodes", "1-4", "1-4"), ("nodes", 2, "2"), ("gpus", "a100:2", "a100:2"), ("gpus", "2080ti:1", "2080ti:1"), ("gpus-per-node", "3g.20gb:1,a100:2", "3g.20gb:1,a100:2"), ("mem", 100, "100M"), ("mem", 0, "0"),
        ("mem", "2g", "2G"), ("nice", -5, "-5"), ("requeue", False, "no"), ("exclusive", True, ""),
        ("exclusive", False, None), ("exclusive", "mcs", "mcs"), ("signal", "B:USR1@60", "B:USR1@60"),
    ],
)  # fmt: skip
def test_options_as_sbatch_takes_them(name: str, value: options.Value, text: str | None) -> None:
    assert options.check(name, value) == text


@pytest.mark.parametrize(
    ("name", "value", "code", "remedy"),
    [
        ("partition", True, "wrong-type", "VALUE"), ("partition", "", "wrong-type", "VALUE"),
        ("account", "a\x00b", "slurm-value-unsafe", "remove"), ("ntasks", 0, "out-of-range", "1"),
        ("ntasks", "two", "wrong-type", "1"), ("nodes", "two", "wrong-type", "1"), ("nodes", "1\n2", "slurm-value-unsafe", ""),
        ("mem", -1, "out-of-range", "4G"), ("mem", 1.5, "size-invalid", "4G"), ("mem", "many", "size-invalid", "4G"),
        ("time", True, "duration-invalid", "2h"), ("time", "3 hours", "duration-invalid", "3h"),
        ("time", 0, "out-of-range", "1m"), ("time", -5, "out-of-range", "1m"), ("time", "1:30", "time-ambiguous", "01:30:00"),
        ("requeue", "yes", "wrong-type", "true"), ("exclusive", "all", "wrong-choice", "mcs"),
        ("constraint", "a b", "slurm-value-unsafe", "own key"), ("constraint", "a\u2028b", "slurm-value-unsafe", "one line"), ("account", "a\u200bb", "slurm-value-unsafe", "anew"),
    ],
)  # fmt: skip
def test_options_refused(name: str, value: options.Value, code: str, remedy: str) -> None:
    with pytest.raises(options.Refusal) as caught:
        options.check(name, value)
    assert caught.value.code == code
    assert remedy in caught.value.remedy


@given(st.sampled_from(sorted(options.OPTIONS)), st.text(max_size=20) | st.integers() | st.floats() | st.booleans())
def test_no_value_becomes_more_than_one_argument(name: str, value: options.Value) -> None:
    try:
        text = options.check(name, value)
    except options.Refusal:
        return
    argument = options.argument(name, text or "")
    assert argument.startswith("--")
    assert not re.search(r"[\s\x00-\x1f]", argument)


def _request(**changes: object) -> JobRequest:
    return JobRequest(**{"key": KEY, "text": "echo hi", **changes})  # type: ignore[arg-type]


def test_a_switch_that_is_off_is_said_only_where_slurm_has_a_word_for_it() -> None:
    assert [options.check(name, False) for name in ("requeue", "oversubscribe")] == ["no", None]
    assert "--no-requeue" in _request(options=(("requeue", "no"),)).argv
