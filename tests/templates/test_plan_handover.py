"""What the plays of plan.yml saw on each host reaches the role that tells it, for a fleet of several hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins.plan_support import seen

ROOT = Path(__file__).parent.parent.parent


def inventory() -> dict[str, Any]:
    """Hosts on which every play but the last has run; worker-1 is scheduler and builder too."""
    found = seen()
    usual = {"ansible_connection": "local", "webapps_domain": "amy.example.org", "deploy_batches": [1]}
    nothing = {"steps": []}
    web = {
        host: {
            **usual,
            "load_balancer_target": {"instance_id": f"i-{host[-1]}"},
            "__deploy_observed": found["listed"][host],
            "__app_release_environment": found["environments"].get(host, {"differs": None}),
            "__gunicorn_published": found["web"][host],
            "__load_balancer_observed": found["observed"][host],
            "__rqworker_stopped": nothing,
            "__rqscheduler_stopped": nothing,
        }
        for host in ("web-1", "web-2")
    }
    web["web-1"] |= {
        "__load_balancer_foreseen": found["foreseen"],
        "__migration_gate_found": found["pending"],
        "__migration_gate_judged": found["judged"],
    }
    worker = {
        **usual,
        "__deploy_observed": found["listed"]["worker-1"],
        "__app_release_environment": {"differs": None},
        "__rqworker_foreseen": found["workers"]["worker-1"],
        "__rqworker_unwanted": found["unwanted"]["worker-1"],
        "__rqscheduler_published": found["scheduler"]["worker-1"],
        "__app_release_plan": found["release"],
        "__app_release_changes": found["changes"],
        "__deploy_lock_observed": {"lock": None, "freeze": None},
    }
    groups = {name: {"hosts": {"worker-1": worker}} for name in ("worker", "scheduler", "builder")}
    return {"all": {"children": {"web": {"hosts": web}, **groups}}}


@pytest.fixture
def told(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """What the last play prints, and what it writes."""
    plays = yaml.safe_load((ROOT / "playbooks/plan.yml").read_text())
    last = {
        **plays[-1],
        "vars_files": [str(ROOT / "playbooks/vars/plan.yml"), str(ROOT / "playbooks/group_vars/all.yml")],
    }
    (tmp_path / "last.yml").write_text(yaml.safe_dump([last]))
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory()))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "last.yml"]
    command += ["-e", "deploy_version=v4.2.0", "-e", "plan_file=plan.json"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8", "PWD": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((tmp_path / "plan.json").read_text())


def test_everything_that_was_seen_is_told(told: tuple[str, dict[str, Any]]) -> None:
    said, plan = told
    assert set(plan["hosts"]) == {"web-1", "web-2", "worker-1"}
    assert [program["program"] for program in plan["hosts"]["worker-1"]["programs"]] == ["rqworker", "rqscheduler"]
    assert plan["hosts"]["worker-1"]["stops"] == ["Let rqworker_mail-x finish its work and stop"]
    assert [batch["hosts"] for batch in plan["batches"]] == [["web-1"], ["web-2"]]
    assert [len(batch["leaves"]) for batch in plan["batches"]] == [1, 0]
    assert plan["commits"]["since"] == "v4.1.0"
    for words in ("changed SECRET_KEY", "web-1 (i-1) leaves amy port 80", "1.2 to 10.0 minutes"):
        assert words in said


def test_it_is_printed_as_one_text_that_fits_a_terminal(told: tuple[str, dict[str, Any]]) -> None:
    said, _plan = told
    assert "msg: |-" in said
    assert max(map(len, said.partition("msg: |-")[2].partition("TASK")[0].splitlines())) <= 120


def test_every_play_is_in_check_mode_whatever_the_command_line_says() -> None:
    plays = [
        play
        for name in ("plan", "whole_fleet")
        for play in yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text())
        if play.get("ansible.builtin.import_playbook") != "whole_fleet.yml"
    ]
    assert [play["name"] for play in plays if play.get("check_mode") is not True] == []
