"""The partitions of a cluster in the site file: their names, their nodes, and the types of their GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap_airflow.slurm.options import unsafe_characters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap_airflow.errors import Problem
    from hotswap_airflow.workflow.text.document import Document, Path


def judge_partitions(document: Document, cluster: str) -> Iterator[Problem]:
    """Find names that Slurm cannot have, and partitions without nodes."""
    here = ("clusters", cluster, "partitions")
    for name in document.keys_of(*here):
        yield from _name(document, (*here, name), "partition", "`sinfo`")
        shapes = document.raw(*here, name)
        if shapes == []:
            words = f"partition {name} has no nodes"
            yield document.at_key(
                (*here, name), "missing-key", words, f"write `{name}: {{nodes: 1, cpus: 4, mem: 8G}}`"
            )
        places: list[Path] = [()] if isinstance(shapes, dict) else [(index,) for index, _ in enumerate(shapes or ())]
        for place in places:
            gpus = (*here, name, *place, "gpus")
            for kind in document.keys_of(*gpus):
                yield from _name(document, (*gpus, kind), "type of GPUs", "`sinfo -o %G`")


def _name(document: Document, path: Path, what: str, command: str) -> Iterator[Problem]:
    name = str(path[-1])
    if found := unsafe_characters(name) or ("a comma" if "," in name else "" if name else "nothing"):
        words = f"the name of a {what} holds {found}: {name!r}"
        yield document.at_key(path, "name-invalid", words, f"write it as {command} shows it")
