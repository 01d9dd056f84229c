"""``hotswap sandbox``: real Slurm clusters on this host, to try workflows on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hotswap_airflow.errors import SetupError

if TYPE_CHECKING:
    import argparse


def add_command(commands: Any) -> None:
    """Add ``sandbox up``, ``down`` and ``status``."""
    sandbox = commands.add_parser("sandbox", help="real Slurm clusters on this host, to try workflows on")
    verbs = sandbox.add_subparsers(title="verbs", metavar="VERB", required=True)
    up = verbs.add_parser("up", help="start clusters")
    up.add_argument("--name", default="default")
    up.add_argument("--clusters", type=int, default=1, metavar="N")
    up.add_argument("--nodes", type=int, default=4, metavar="N")
    up.add_argument("--max-array-size", type=int, default=1001, metavar="N")
    up.add_argument("--accounting", action="store_true", help="with slurmdbd and a database of its own")
    up.add_argument("--sshd", action="store_true", help="with an sshd on a loopback port before each cluster")
    up.set_defaults(action=_up)
    down = verbs.add_parser("down", help="stop exactly what was started")
    down.add_argument("--name", default=None, help="which one (default: the only one, or `default`)")
    down.add_argument("--all", action="store_true", help="every sandbox of this user")
    down.set_defaults(action=_down)
    status = verbs.add_parser("status", help="what is up")
    status.add_argument("--json", action="store_true")
    status.set_defaults(action=_status)


def _up(arguments: argparse.Namespace) -> int:
    from hotswap_airflow.testing import sandbox
    from hotswap_airflow.testing.slurm import ClusterOptions

    if arguments.clusters < 1 or arguments.nodes < 1 or arguments.max_array_size < 1:
        raise SetupError("--clusters, --nodes and --max-array-size are at least 1")
    found = sandbox.find(arguments.name)
    if found is not None:
        if sandbox.is_up(found):
            print(f"sandbox {found.name} is up already")
            _show(found.describe())
            return 0
        found.down()  # remains of a crash
    made = sandbox.create(arguments.name)
    options = ClusterOptions(arguments.nodes, arguments.max_array_size, arguments.accounting)
    made.up(options, arguments.clusters, sshd=arguments.sshd)
    sandbox.save(made)
    _show(made.describe())
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from hotswap_airflow.testing import sandbox

    known = {made.name: made for made in sandbox.load_all()}
    if not known and arguments.name is None:
        print("no sandbox is up")
        return 0
    for name in known if arguments.all else [_named(arguments.name, list(known))]:
        known[name].down()
        sandbox.forget(name)
        print(f"sandbox {name} is down")
    return 0


def _named(name: str | None, known: list[str]) -> str:
    """The name of the sandbox that is meant. Raises ``SetupError`` if that is not clear."""
    if name is None and len(known) == 1:
        return known[0]
    if (name or "default") in known:
        return name or "default"
    if name is None:
        raise SetupError(f"several sandboxes are up; give --name, or --all: {', '.join(known)}")
    raise SetupError(f"there is no sandbox {name}; up are: {', '.join(known) or 'none'}")


def _status(arguments: argparse.Namespace) -> int:
    from hotswap_airflow.testing import sandbox

    entries = [entry for made in sandbox.load_all() for entry in made.describe()]
    if arguments.json:
        print(json.dumps(entries, indent=2))
    elif entries:
        _show(entries)
    else:
        print("no sandbox is up")
    return 0


def _show(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        state = "running" if entry["running"] else "broken: `hotswap sandbox up` starts it anew"
        print(f"{entry['name']}/{entry['cluster']}: {state}")
        print(f"  export SLURM_CONF={entry['slurm_conf']}")
        if entry["ssh"]:
            ssh = entry["ssh"]
            print(f"  ssh -i {ssh['key']} -p {ssh['port']} {ssh['user']}@{ssh['host']}")
        print(f"  export AIRFLOW_CONN_SLURM_{entry['cluster'].upper()}='{entry['connection']}'")
        print(f"  site file: {entry['site']}")
