"""Paths as people write them: nothing in them is replaced."""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
_COMMAND = re.compile(r"\$\(|`")


def literal_fault(path: str) -> tuple[str, str] | None:
    """Why a path is not meant literally, and the remedy; None if it is meant literally.

    >>> literal_fault("$SCRATCH/x")[1], literal_fault("data/x")
    ('write the path itself, or use it as a variable in the script', None)
    """
    if path.startswith("~"):
        return f"`{path}` begins with `~`, and nothing is replaced in paths", "write the absolute path"
    if _VARIABLE.search(path):
        words = f"`{path}` holds a variable, and nothing is replaced in paths"
        return words, "write the path itself, or use it as a variable in the script"
    if _COMMAND.search(path):
        return f"{path!r} holds a command, and nothing is replaced in paths", "write the path itself"
    return None


def workdir_fault(path: str) -> str:
    """Why a work folder cannot have this path; empty if it can. A relative path is below the account's home folder.

    >>> workdir_fault("/scratch/100%")
    '`/scratch/100%` holds `%`, which Slurm replaces in the paths of logs; use another folder'
    """
    if path.startswith("~"):
        return f"`{path}` begins with `~`; write the part below the home folder alone, or the absolute path"
    if fault := literal_fault(path):
        return f"{fault[0]}; write the path itself"
    found = next((char for char in "%\\\n" if char in path), "")
    return f"`{path}` holds `{found}`, which Slurm replaces in the paths of logs; use another folder" if found else ""
