"""Web processes of a host that is no web host any more are refused before a deploy, with the commands that end them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
OLD = "3f2a1b9c0d-9f8e7d6c-a1b2c3d4"


def checked(directory: Path, host: str, *programs: dict[str, Any]) -> tuple[int, str]:
    """The check's exit code, and what it said, in one line, where these programs run on a host."""
    _look, judge = yaml.safe_load((ROOT / "roles/deploy/tasks/check_programs.yml").read_text())
    known = {
        "__deploy_running": {"programs": [{"generation": OLD, "retiring": False, **program} for program in programs]},
        "deploy_hosts": {"web": ["web-1"]},
        "deploy_root": "/webapps/amy.example.org",
        "deploy_domain": "amy.example.org",
    }
    play = {"hosts": host, "gather_facts": False, "connection": "local", "vars": known, "tasks": [judge]}
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", f"{host},", "play.yml"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
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


def test_gunicorn_on_a_host_that_is_no_web_host_is_refused_with_what_ends_it(tmp_path: Path) -> None:
    code, said = checked(tmp_path, "worker-1", {"program": "gunicorn"}, {"program": "rqworker"})
    assert code != 0
    assert f"worker-1 is no web host, and gunicorn-{OLD} is there" in said
    assert (
        "rm -f /webapps/amy.example.org/live.sock /etc/supervisor/conf.d/amy.example.org-gunicorn-"
        f"{OLD}.conf; supervisorctl stop gunicorn-{OLD}:*; supervisorctl remove gunicorn-{OLD}; then run this again."
    ) in said


@pytest.mark.parametrize(
    ("host", "program"),
    [
        ("web-1", {"program": "gunicorn"}),
        ("worker-1", {"program": "rqworker"}),
        ("worker-1", {"program": "gunicorn", "retiring": True}),
    ],
)
def test_what_belongs_there_or_is_about_to_end_is_not(tmp_path: Path, host: str, program: dict[str, Any]) -> None:
    code, said = checked(tmp_path, host, program)
    assert code == 0, said


@pytest.mark.parametrize("name", ["deploy", "plan", "rollback"])
def test_it_is_looked_for_before_anything_changes(name: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())
    (place,) = [number for number, play in enumerate(plays) if "check_programs" in str(play)]
    changing = [number for number, play in enumerate(plays) if "deploy_lock" in str(play) and "acquire" in str(play)]
    assert "web" in plays[place]["hosts"].split(":!")
    assert all(place < number for number in changing)
