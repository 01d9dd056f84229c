"""The secrets of a job, read from Airflow's connections and variables in the triggerer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import amask_secret

from hotswap_airflow.errors import SetupError
from hotswap_airflow.slurm.request import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Connection

    from hotswap_airflow.slurm.request import SecretSource


_SHORTEST_MASKED = 5
"""Airflow masks no shorter text, which could stand anywhere."""


async def read_secrets(sources: Iterable[SecretSource]) -> tuple[tuple[str, str], ...]:
    """The value of each secret, with its variable; Airflow masks it in logs. Raises ``SetupError`` if there is none."""
    found = []
    for source in sources:
        value = await (_of_variable(source) if source.kind == "variable" else _of_connection(source))
        if not value:
            where = f"`{source.field}` of connection" if source.kind == "connection" else "variable"
            raise SetupError(f"{source.variable}: the {where} {source.id} is empty; set it in Airflow")
        for part in {value, *value.split("\n")}:  # a log has one line at a time
            if len(part) >= _SHORTEST_MASKED:
                await amask_secret(part)
        found.append((source.variable, value))
    return tuple(found)


async def _of_variable(source: SecretSource) -> str:
    try:
        return str(await asyncio.to_thread(Variable.get, source.id))
    except (KeyError, AirflowRuntimeError):
        raise SetupError(f"{source.variable}: Airflow has no variable {source.id}; create it") from None


async def _of_connection(source: SecretSource) -> str:
    try:
        connection = await BaseHook.aget_connection(source.id)
    except AirflowNotFoundException:
        raise SetupError(f"{source.variable}: Airflow has no connection {source.id}; create it") from None
    return _field(connection, source.field)


def _field(connection: Connection, field: str) -> str:
    if field == "uri":
        return str(connection.get_uri())
    if field.startswith("extra."):
        value = connection.extra_dejson.get(field.removeprefix("extra."))
    else:
        value = getattr(connection, field)
    return as_text(value)
