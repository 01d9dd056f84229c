"""Job keys, names and folders."""

from __future__ import annotations

import re
import string
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hotswap_airflow.slurm.identity import JobKey, RunKey

RUN = RunKey("inst", "flow", "dev", "manual__2026-11-25T10:00:00+00:00", "n1")


KEY = JobKey(RUN, "fit")


_words = st.text(min_size=1, max_size=12)


@given(_words, _words, _words, _words, _words, _words)
def test_a_key_depends_on_each_of_its_parts(one: str, two: str, job: str, run: str, nonce: str, other: str) -> None:
    key = JobKey(RunKey(one, two, "dev", run, nonce), job)
    assert re.fullmatch(r"[0-9a-f]{20}-e0-g0", key.digest)
    if other != nonce:
        assert JobKey(RunKey(one, two, "dev", run, other), job).stem != key.stem
    if other != job:
        assert JobKey(key.run, other).stem != key.stem
    assert replace(key, generation=1).digest == f"{key.stem}-e0-g1"
    assert not set(key.job_name) - set(string.ascii_letters + string.digits + "_.-")


def test_names_are_readable_and_folders_safe() -> None:
    assert KEY.job_name == f"flow.fit.hs-inst.{KEY.digest}"
    assert KEY.run.folder == f"flow/manual__2026-11-25T10-00-00-00-00-{RUN.digest[:8]}"
    assert RunKey("i", "../x", "e", "../../etc", "n").folder.startswith("-x/etc-")
