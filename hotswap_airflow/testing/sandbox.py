"""A sandbox of real Slurm clusters on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def running_site_file() -> Path | None:
    """The site file of the sandbox that is up; None where none is."""
    return None
