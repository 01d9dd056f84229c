from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow import units


@given(st.integers(0, 10**9))
def test_a_duration_reads_back(seconds: int) -> None:
    assert units.parse_duration(units.format_duration(seconds)) == seconds


@given(st.integers(1, 10**9))
def test_a_clock_reads_back(seconds: int) -> None:
    assert units.parse_time(units.format_clock(seconds)) == seconds


@given(st.integers(0, 10**12))
def test_a_size_reads_back(kib: int) -> None:
    assert units.parse_size(units.format_size(kib)) == kib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("2d", 172800), ("1w", 604800),
     ("01:30:00", 5400), ("1-00", 86400), ("1-12:30", 131400), ("1-00:00:01", 86401), (10, 600)],
)  # fmt: skip
def test_times(text: str | int, seconds: int) -> None:
    assert units.parse_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "better"),
    [("2:30", "02:30:00"), ("00:90:00", "01:30:00"), ("1-00:00:60", "1-00:01:00"), ("00:00:75", "00:01:15")],
)
def test_a_time_with_two_meanings_is_refused_with_the_likely_one(text: str, better: str) -> None:
    with pytest.raises(units.AmbiguousTime) as caught:
        units.parse_time(text)
    assert caught.value.suggestion == better


@pytest.mark.parametrize("text", ["", "2 days", "1.5h", "h", "-1h", "1h ", "1m2h", "١h"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        units.parse_duration(text)


@pytest.mark.parametrize(("text", "kib"), [("4G", 4 * 1024**2), ("4gb", 4 * 1024**2), ("512K", 512), (4000, 4096000)])
def test_sizes(text: str | int, kib: int) -> None:
    assert units.parse_size(text) == kib


@pytest.mark.parametrize("text", ["4 Gigs", "4Gi", "", "-4G", "4.5G", "G"])
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        units.parse_size(text)


@pytest.mark.parametrize("value", [True, False, -1])
def test_no_number_of_minutes_or_megabytes(value: int) -> None:
    for parse in (units.parse_time, units.parse_size):
        with pytest.raises(ValueError, match=r".*"):
            parse(value)
