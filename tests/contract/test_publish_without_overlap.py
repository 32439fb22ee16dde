"""Generations that do not overlap are refused where nobody else answers, by the playbooks' own variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent


def checked(directory: Path, **variables: Any) -> tuple[int, str]:
    """The plan's check as deploy.yml has it: its exit code, and what it said, in one line."""
    plays = yaml.safe_load((ROOT / "playbooks/deploy.yml").read_text())
    tasks = [task for play in plays for task in play.get("tasks", []) if "check_pool" in str(task)]
    assert len(tasks) == 1
    play = {"hosts": "web", "gather_facts": False, "connection": "local", "tasks": tasks}
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"web": {"hosts": {"web-1": {}}}}}}))
    (directory / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    done = subprocess.run(
        [*command, "-e", json.dumps(variables)], cwd=directory, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, " ".join(done.stdout.split())


def test_a_host_that_serves_alone_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    code, said = checked(tmp_path, gunicorn_overlap=False)
    assert code != 0
    assert "gunicorn_overlap is false for web-1, which is in no target group" in said
    assert "Set gunicorn_overlap: true" in said
    assert "deploy_maintenance=true" in said


@pytest.mark.parametrize(
    "variables",
    [
        {"gunicorn_overlap": True},
        {"gunicorn_overlap": False, "load_balancer_target_groups": ["amy"]},
        {"gunicorn_overlap": False, "deploy_maintenance": True},
    ],
)
def test_where_generations_overlap_or_somebody_else_answers_nothing_is_refused(
    tmp_path: Path, variables: dict[str, Any]
) -> None:
    code, said = checked(tmp_path, **variables)
    assert code == 0, said
