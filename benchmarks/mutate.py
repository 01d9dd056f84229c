"""Checks mutated workflow and site files: no traceback, none over 2 s or 200 MB.

python benchmarks/mutate.py --files 20000 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hotswap_airflow.errors import SpecError
from hotswap_airflow.file_store.folder import DiskFolder
from hotswap_airflow.workflow.checked import check_workflow
from hotswap_airflow.workflow.plan import make_plan
from hotswap_airflow.workflow.site_file import read_site

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[1] / "tests" / "examples" / "files"
VALUES = [
    b"null",
    b"-1",
    b"0",
    b"[]",
    b"{}",
    b"1e999",
    b"''",
    b"x: y",
    b"*a",
    b"&a",
    b"!t",
    b"true",
    b"9" * 40,
    b"\xff",
    b"- - -",
    b"{{ ds }}",
]


def flip(text: bytes, chance: random.Random) -> bytes:
    """Replace some bytes."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def cut(text: bytes, chance: random.Random) -> bytes:
    """Keep the beginning, or leave out a part."""
    first, last = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:first] if chance.choice((True, False)) else text[:first] + text[last:]


def swap(text: bytes, chance: random.Random) -> bytes:
    """Give some keys another value, or move lines."""
    lines = text.split(b"\n")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        key, colon, _ = lines[at].partition(b":")
        if colon and chance.choice((True, True, False)):
            lines[at] = key + b": " + chance.choice(VALUES)
        else:
            lines.insert(chance.randrange(len(lines)), lines.pop(at))
    return b"\n".join(lines)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, cut, swap)


def check(raw: bytes, path: Path, site: object) -> None:
    """Check one file as it would be served; a valid workflow is planned as well."""
    if path.name == "site.yaml":
        try:
            read_site(raw, path.name)
        except SpecError:
            return
        return
    checked = check_workflow(raw, path.name, DiskFolder(path.parent), site)  # type: ignore[arg-type]
    assert checked.problems or checked.context is not None
    if checked.context is not None:
        for environment in site.environments:  # type: ignore[attr-defined]
            make_plan(checked, site, environment)  # type: ignore[arg-type]


def mutated(files: list[Path], count: int, seed: int) -> dict[str, object]:
    """Check ``count`` mutated files; the slowest in seconds, and the growth of the process in MB."""
    chance = random.Random(seed)  # noqa: S311 - the same files for the same seed
    site = read_site((EXAMPLES / "good" / "site.yaml").read_bytes(), "site.yaml")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, worst = 0.0, b""
    for _ in range(count):
        path = chance.choice(files)
        raw = chance.choice(MUTATIONS)(path.read_bytes(), chance)
        started = time.perf_counter()
        try:
            check(raw, path, site)
        except Exception:
            print(f"--- {path.name}\n{raw!r}")
            raise
        if (took := time.perf_counter() - started) > slowest:
            slowest, worst = took, raw
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "files": count,
        "seed": seed,
        "slowest_s": round(slowest, 3),
        "grown_mb": round(grown),
        "worst_bytes": len(worst),
    }


def main() -> None:
    """Read the command line and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    files = [p for p in EXAMPLES.rglob("*.hotswap.*") if p.suffix in {".yaml", ".json"} and p.stat().st_size]
    print(json.dumps(mutated([*files, EXAMPLES / "good" / "site.yaml"], given.files, given.seed)))


if __name__ == "__main__":
    main()
