"""Playbooks about the whole fleet refuse a part of it, and a fleet without hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
WHOLE = ("backup", "deploy", "lock", "move_redis", "plan", "restore", "rollback", "unlock")


def run(directory: Path, name: str, *options: str, **groups: list[str]) -> tuple[int, str]:
    """The exit code of a playbook, and what it said, in one line."""
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "webapps_domain": "amy.example.org",
    }
    children = {group: {"hosts": dict.fromkeys(hosts)} for group, hosts in groups.items()}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children, "vars": shared}}))
    playbook = ROOT / "playbooks" / f"{name}.yml"
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", str(playbook), *options]
    environment = {
        **os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }  # fmt: skip
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.parametrize("limit", ["web-2", "all", "web-1,web-2"])
def test_a_limit_is_refused_where_the_controllers_own_checks_are_left_out(tmp_path: Path, limit: str) -> None:
    code, said = run(tmp_path, "whole_fleet", f"--limit={limit}", web=["web-1", "web-2"])
    assert code != 0
    assert f'--limit is \\"{limit}\\"' in said
    assert "Run it without --limit" in said


def test_without_a_limit_nothing_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "whole_fleet", web=["web-1", "web-2"])[0] == 0


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_about_the_whole_fleet_refuses_a_limit_first(name: str) -> None:
    first: dict[str, Any] = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())[0]
    assert first.get("ansible.builtin.import_playbook") == "whole_fleet.yml"


@pytest.mark.parametrize(("name", "missing"), [("status", "web"), ("lock", "builder"), ("unlock", "builder")])
@pytest.mark.parametrize("others", [["redis-1"], []])
def test_a_fleet_without_the_hosts_that_are_asked_is_no_success(
    tmp_path: Path, name: str, missing: str, others: list[str]
) -> None:
    code, said = run(tmp_path, name, redis=others)
    assert code != 0
    assert f'No host of the inventory is in the group \\"{missing}\\"' in said
    assert "ansible-inventory -i INVENTORY --graph" in said
