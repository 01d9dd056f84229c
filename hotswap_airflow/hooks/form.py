"""The form of a Slurm connection. It is separate from the hook, so that reading it imports no Airflow."""

from __future__ import annotations

from typing import Any

UI_FIELDS: dict[str, Any] = {
    "hidden_fields": ["schema"],
    "relabeling": {"login": "Username", "host": "Login node"},
    "placeholders": {
        "host": "login.cluster.example",
        "extra": '{"key_file": "…", "host_key": "ssh-ed25519 …"} or {"transport": "local"}',
    },
}
