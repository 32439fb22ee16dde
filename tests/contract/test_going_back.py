"""A roll that fails ends, and plays that follow lead the whole fleet back: what Ansible makes of it, on local hosts."""

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
WEB = ("web-1", "web-2", "web-3")
ROLE = "carpentries.webapps.deploy"


def included(tasks_from: str, **variables: Any) -> dict[str, Any]:
    include = {"name": ROLE, "tasks_from": tasks_from}
    return {"name": tasks_from, "ansible.builtin.include_role": include, "vars": variables}


def show(words: str) -> dict[str, Any]:
    return {"name": "Show", "ansible.builtin.debug": {"msg": f"{words} {{{{ inventory_hostname }}}}"}}


def roll(hosts: str, serial: int, at_failure: str) -> dict[str, Any]:
    """A roll as the playbooks have it: everything in it is included, and web-2 fails."""
    failing = {**included("stop", deploy_causes=[]), "when": "inventory_hostname == 'web-2'"}
    end = included("give_up", deploy_at_failure=at_failure)
    return {
        "name": "Roll",
        "hosts": hosts,
        "serial": serial,
        "gather_facts": False,
        "any_errors_fatal": True,
        "ignore_unreachable": True,
        "tasks": [{"name": "Roll", "block": [failing, show("rolled")], "rescue": [end]}],
    }


def back(hosts: str) -> dict[str, Any]:
    return {"name": "Back", "hosts": hosts, "gather_facts": False, "tasks": [show("back")]}


def output(directory: Path, *plays: dict[str, Any]) -> str:
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "webapps_domain": "amy.example.org",
        "webapps_root": "/nonexistent",
        "webapps_release": "none",
        "deploy_hosts": {"web": list(WEB), "worker": ["worker-1"]},
        "deploy_returning": [*WEB, "worker-1"],
    }
    groups = {"web": {"hosts": dict.fromkeys(WEB)}, "worker": {"hosts": {"worker-1": None}}}
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": local}}))
    (directory / "play.yml").write_text(yaml.safe_dump(list(plays), sort_keys=False))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def told(words: str, said: str) -> set[str]:
    found = (line.strip().removeprefix('"msg": ').strip('"') for line in said.splitlines() if '"msg": ' in line)
    return {line.removeprefix(words).strip() for line in found if line.startswith(words)}


@pytest.mark.parametrize("serial", [1, 2])
def test_no_batch_follows_one_that_failed_and_every_host_goes_back(tmp_path: Path, serial: int) -> None:
    unless = "{{ ':!deploy_failed' if 'deploy_failed' in groups else '' }}"
    said = output(
        tmp_path,
        roll("web", serial, "end_play"),
        {**back(f"worker{unless}"), "tasks": [show("went on")]},
        back("deploy_goes_back"),
    )
    assert "web-3" not in told("rolled", said)
    assert told("went on", said) == set()
    assert told("back", said) == {*WEB, "worker-1"}


def test_on_the_way_back_a_host_that_fails_keeps_no_other_from_it(tmp_path: Path) -> None:
    said = output(tmp_path, roll("web", 1, "go_on"), back("web"))
    assert told("rolled", said) == {"web-1", "web-3"}
    assert told("back", said) == set(WEB)


def test_elsewhere_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    said = output(tmp_path, roll("web", 1, "fail"), back("web"))
    assert told("rolled", said) == {"web-1"}
    assert told("back", said) == set()
    assert json.dumps("failed=1")[1:-1] in said


def test_a_host_that_is_lost_in_the_roll_keeps_nobody_from_going_back(tmp_path: Path) -> None:
    lost = {"name": "Lose web-2", "ansible.builtin.set_fact": {"ansible_connection": "ssh", "ansible_port": 1}}
    play = roll("web", 1, "end_play")
    (block,) = play["tasks"]
    block["block"] = [
        {**lost, "when": "inventory_hostname == 'web-2'"},
        {"name": "Publish", "ansible.builtin.ping": None},
        included("reached"),
        show("rolled"),
    ]
    said = output(tmp_path, play, {**back("deploy_goes_back"), "ignore_unreachable": True})
    assert told("rolled", said) == {"web-1"}
    assert told("back", said) == {*WEB, "worker-1"}


def test_where_a_host_is_lost_those_that_are_stopped_with_it_tell_whose_fault_it_is(tmp_path: Path) -> None:
    lost = {"name": "Lose web-2", "ansible.builtin.set_fact": {"ansible_connection": "ssh", "ansible_port": 1}}
    cause = {"name": "Tell", "ansible.builtin.debug": {"msg": "cause {{ __deploy_causes | join('; ') }}"}}
    play = {
        "hosts": "web",
        "gather_facts": False,
        "any_errors_fatal": True,
        "tasks": [
            {**lost, "when": "inventory_hostname == 'web-2'"},
            {
                "block": [{"name": "Reach", "ansible.builtin.ping": None}],
                "rescue": [included("cause", deploy_called=list(WEB)), cause],
            },
        ],
    }
    assert told("cause", output(tmp_path, play)) == {"web-2 does not answer."}


def test_a_web_host_that_serves_something_else_or_nothing_is_not_proven(tmp_path: Path) -> None:
    tasks = yaml.safe_load((ROOT / "roles/deploy/tasks/prove.yml").read_text())
    (served,) = [task for task in tasks if task["name"] == "prove | Assert that users get the release"]
    looks = {
        "web-1": {"live": {"release": "new", "listening": True}},
        "web-2": {"live": {"release": "old", "listening": True}},
        "web-3": {"live": None},
        "worker-1": {"live": None},
    }
    refused = {"name": "Tell", "ansible.builtin.debug": {"msg": "refused {{ ansible_failed_result.msg }}"}}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"deploy_release": "new", "looks": looks, "__deploy_running": "{{ looks[inventory_hostname] }}"},
        "tasks": [{"block": [served], "rescue": [refused]}],
    }
    said = told("refused", output(tmp_path, play))
    assert {text.partition(", and the socket")[0] for text in said} == {
        "web-2 should serve release new. It serves old",
        "web-3 should serve release new. It serves nothing",
    }
