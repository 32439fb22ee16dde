"""What the tests of a role that publishes need: the scenario's playbook once more, and what runs on its machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

DOMAIN = "amy.example.org"
ROOT = f"/webapps/{DOMAIN}"
PLAYBOOK = Path(__file__).parent.parent / "molecule" / "shared" / "publish.yml"


@dataclass(frozen=True)
class Published:
    """One run of the playbook. ``changed``: whether it changed, or in check mode would change, anything."""

    code: int
    changed: bool
    output: str


def staged(version: str) -> str:
    """The id of a release that the scenario's preparation staged, by its version."""
    path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "releases.json")
    return str(json.loads(path.read_text())["releases"][version])


def publish(version: str, *options: str, **variables: object) -> Published:
    """Apply the scenario's role to the release of a version, whatever comes of it."""
    done = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            f"--extra-vars={json.dumps({'scenario_version': version, **variables})}",
            *options,
            str(PLAYBOOK),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return Published(done.returncode, "changed=0 " not in done.stdout, done.stdout + done.stderr)


def published(version: str, **variables: object) -> Published:
    """Apply the scenario's role to the release of a version; that must succeed."""
    result = publish(version, **variables)
    assert result.code == 0, result.output
    return result


def running(host: Host) -> list[dict[str, Any]]:
    """The generations on the machine, those that retire included, as the module generation_info sees them."""
    result = host.ansible("carpentries.webapps.generation_info", f"root={ROOT}", check=False, become=True)
    programs: list[dict[str, Any]] = result["programs"]
    return programs


def pids(host: Host) -> list[int]:
    """The processes that supervisor runs for the application."""
    return sorted(process["pid"] for row in running(host) for process in row["processes"] if process["pid"])


def application(host: Host, program: str) -> str:
    """What a Python program prints that runs inside the live release, with its environment."""
    shell = f"webapps-run {ROOT}/environment .venv/bin/python manage.py shell --verbosity 0"
    return str(host.check_output(f"cd {ROOT}/repo/ && runuser -u amy -- {shell} << 'END'\n{program}\nEND"))


def wait_until(condition: Callable[[], bool], what: str, patience: float = 40) -> None:
    """Return once the condition holds; `what` says what it means that it never did."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
