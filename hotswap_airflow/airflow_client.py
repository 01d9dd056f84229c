"""Airflow's REST API with a person's login."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import quote

import httpx

from hotswap_airflow.errors import SetupError

_NO_AIRFLOW = "there is no Airflow 3 at {}: give the address at which its page opens"


class RestClient:
    """The API of the Airflow at ``url``, by a token, or by user and password. Raises ``SetupError``.

    ``limit`` is the number of seconds after which a request counts as not answered.
    """

    limit: ClassVar[float] = 30.0

    def __init__(self, url: str, *, token: str = "", user: str = "", password: str = "") -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=self.limit)
        if not token:
            login = {"username": user, "password": password}
            answer = self._json(self._ask("POST", f"{self.url}/auth/token", json=login))
            if not isinstance(answer, dict) or "access_token" not in answer:
                raise SetupError(_NO_AIRFLOW.format(self.url))
            token = str(answer["access_token"])
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """GET a path; None if there is nothing."""
        return self._json(self._ask("GET", f"{self.url}/api/v2{path}", params=query))

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Change something. Raises ``SetupError`` also if there is nothing to change."""
        reply = self._ask(method, f"{self.url}/api/v2{path}", json=body)
        answer = self._json(reply)
        if reply.status_code == httpx.codes.NOT_FOUND:
            raise SetupError(f"Airflow has no {path}")
        return answer

    def has_dag(self, dag_id: str) -> bool:
        """Whether Airflow knows a Dag."""
        return self.get(f"/dags/{quote(dag_id, safe='')}") is not None

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        """The state of a task: None before it is scheduled, empty if there is no such task."""
        index = f"/{map_index}" if map_index >= 0 else ""
        found = self.get(f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}{index}")
        return "" if found is None else found["state"]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str, map_index: int = -1) -> Any:
        """A value that a task left; None if there is none."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/xcomEntries/{quote(key, safe='')}"
        found = self.get(path, map_index=map_index)
        value = found["value"] if found else None
        return json.loads(value) if isinstance(value, str) else value

    def clear_task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> int:
        """Clear a task and the tasks after it; give how many were cleared."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id if map_index < 0 else [task_id, map_index]],
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        cleared = self.send("POST", f"/dags/{quote(dag_id, safe='')}/clearTaskInstances", body)
        return int(cleared["total_entries"])

    def _ask(self, method: str, url: str, **words: Any) -> httpx.Response:
        try:
            reply = self._client.request(method, url, **words)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SetupError(f"Airflow at {self.url} gives no answer: {error}") from error
        if reply.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise SetupError(f"Airflow at {self.url} refuses your login for {method} {reply.url.path}")
        if not reply.is_success and reply.status_code != httpx.codes.NOT_FOUND:
            raise SetupError(f"Airflow answered {method} {reply.url.path} with {reply.status_code}: {reply.text[:500]}")
        return reply

    def _json(self, reply: httpx.Response) -> Any:
        """The answer as JSON; None if Airflow itself, and not a server before it, says that there is no such thing."""
        try:
            answer = reply.json() if reply.content else None
        except ValueError:
            answer = ""
        if reply.status_code == httpx.codes.NOT_FOUND and isinstance(answer, dict) and "detail" in answer:
            return None
        if reply.status_code == httpx.codes.NOT_FOUND or answer == "":
            raise SetupError(_NO_AIRFLOW.format(self.url))
        return answer


def run_path(dag_id: str, run_id: str) -> str:
    """The path of a run.

    >>> run_path("fit", "manual__2026-01-02T03:04:05+00:00")
    '/dags/fit/dagRuns/manual__2026-01-02T03%3A04%3A05%2B00%3A00'
    """
    return f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
