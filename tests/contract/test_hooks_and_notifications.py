"""Hooks and notifications as the playbooks call them, on hosts that are this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_hooks import NAMES

ROOT = Path(__file__).parent.parent.parent
TASKS = ROOT / "playbooks/tasks"
SECRET = "sign-this-0123456789"
HOSTS: dict[str, dict[str, Any]] = {name: {} for name in ("web-1", "web-2")}
VARIABLES = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "webapps_domain": "amy.example.org",
    "webapps_application": "amy",
    "webapps_stage": "test",
    "deploy_version": "v2",
    "webapps_root": "/nonexistent",
    "__app_release_plan": {"release_id": "3f2a1b9c0d-9f8e7d6c", "commit": "c" * 40},
}


@dataclass
class Fleet:
    """An inventory and playbooks in a directory of their own."""

    directory: Path
    url: str = ""
    arrived: list[dict[str, Any]] = field(default_factory=list)

    def hook(self, name: str, *tasks: dict[str, Any]) -> str:
        path = self.directory / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(list(tasks)))
        return f"hooks/{name}"

    def play(self, tasks: list[dict[str, Any]], hosts: str = "web", **more: Any) -> list[dict[str, Any]]:
        return [
            {"name": "Play", "hosts": hosts, "gather_facts": False, "any_errors_fatal": True, **more, "tasks": tasks}
        ]

    def run(self, plays: list[dict[str, Any]], *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        (self.directory / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        variables["deploy_lock_directory"] = str(self.directory / "deploys")
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.directory / "hosts.yml"), *options,
            "-e", json.dumps(variables), str(self.directory / "play.yml"),
        ]  # fmt: skip
        environment = {
            **os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "no_proxy": "*",
        }  # fmt: skip
        done = subprocess.run(
            command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env=environment,
        )  # fmt: skip
        assert SECRET not in done.stdout
        return done

    def said(self) -> list[str]:
        path = self.directory / "said"
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def say(self, words: str) -> dict[str, Any]:
        """A task that leaves words in a file."""
        return {
            "name": "Say it",
            "ansible.builtin.command": {"argv": ["tee", "-a", str(self.directory / "said")], "stdin": words},
        }


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    groups = {"web": {"hosts": HOSTS}, "builder": {"hosts": {"web-1": {}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": VARIABLES}}))
    (tmp_path / "group_vars").symlink_to(ROOT / "playbooks/group_vars")
    made = Fleet(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.arrived.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/"
    yield made
    server.shutdown()
    server.server_close()


def hooks(name: str) -> dict[str, Any]:
    return {
        "name": "Run hooks",
        "ansible.builtin.import_tasks": str(TASKS / "hooks.yml"),
        "vars": {"deploy_hook": name},
    }


def phase(name: str) -> list[dict[str, Any]]:
    """A phase as deploy.yml has it."""
    work = {"name": "Work", "ansible.builtin.ping": {}}
    stop = {"name": "Stop", "ansible.builtin.include_tasks": str(TASKS / "stop.yml")}
    return [{"name": "Phase", "block": [hooks(f"before_{name}"), work, hooks(f"after_{name}")], "rescue": [stop]}]


def role(entry: str) -> list[dict[str, Any]]:
    return [{"name": entry, "ansible.builtin.import_role": {"name": "carpentries.webapps.deploy", "tasks_from": entry}}]


def webhook(fleet: Fleet) -> dict[str, Any]:
    return {"type": "webhook", "url": fleet.url, "secret": SECRET}


def test_the_playbooks_run_every_hook_in_one_place_before_and_after_its_phase() -> None:
    order = ("deploy", "roll_workers", "roll_web", "roll_scheduler", "finish")
    text = "".join((ROOT / f"playbooks/{name}.yml").read_text() for name in order)
    assert re.findall(r"deploy_hook: (\w+)", text) == [name for name in NAMES if name != "on_failure"]
    for name in ("go_back.yml", "tasks/stop.yml"):
        assert (ROOT / "playbooks" / name).read_text().count("failure_hooks.yml") == 1


def test_a_hook_runs_on_every_host_of_its_phase_with_what_it_may_read(fleet: Fleet) -> None:
    one = fleet.hook(
        "one.yml", fleet.say("{{ deploy_hook }} {{ webapps_release }} {{ deploy_version }} {{ inventory_hostname }}")
    )
    done = fleet.run(fleet.play(phase("stage")), deploy_hooks={"before_stage": [one], "after_stage": [one, one]})
    assert done.returncode == 0, done.stdout
    rest = "3f2a1b9c0d-9f8e7d6c v2"
    expected = [f"{hook} {rest} {host}" for host in HOSTS for hook in ("before_stage", *["after_stage"] * 2)]
    assert fleet.said() == sorted(expected)


def test_a_hook_finds_what_is_beside_its_file(fleet: Fleet) -> None:
    fleet.hook("more.yml", fleet.say("{{ lookup('ansible.builtin.file', 'words.txt') }}"))
    (fleet.directory / "hooks/words.txt").write_text("from beside")
    one = fleet.hook("one.yml", {"name": "Include", "ansible.builtin.include_tasks": "more.yml"})
    done = fleet.run(fleet.play(phase("stage")), deploy_hooks={"before_stage": [one]})
    assert done.returncode == 0, done.stdout
    assert fleet.said() == ["from beside"] * 2


def test_a_phase_without_hooks_runs_no_more_than_its_own_tasks(fleet: Fleet) -> None:
    done = fleet.run(fleet.play(phase("stage")))
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("skipped=2") == 2
    assert done.stdout.count("ok=1 ") == 2


def test_a_hook_that_fails_fails_its_phase_and_runs_the_hooks_of_failure_once(fleet: Fleet) -> None:
    bad = fleet.hook(
        "bad.yml",
        {"name": "Refuse", "ansible.builtin.fail": {"msg": "not today"}, "when": "inventory_hostname == 'web-2'"},
    )
    late = fleet.hook("late.yml", fleet.say("{{ deploy_hook }}: {{ deploy_causes | first }}"))
    done = fleet.run(
        fleet.play(phase("stage")), deploy_hooks={"before_stage": [bad], "on_failure": [late]},
        deploy_notifications=[webhook(fleet)],
    )  # fmt: skip
    assert done.returncode != 0
    assert "not today" in done.stdout
    assert fleet.said() == ["on_failure: not today"], done.stdout
    [told] = fleet.arrived
    assert (told["event"], told["cause"], told["application"]) == ("failure", "not today", "amy")


def test_a_hook_of_failure_that_fails_and_a_server_that_is_gone_do_not_hide_the_cause(fleet: Fleet) -> None:
    bad = fleet.hook("bad.yml", {"name": "Refuse", "ansible.builtin.fail": {"msg": "not today"}})
    worse = fleet.hook("worse.yml", {"name": "Refuse", "ansible.builtin.fail": {"msg": "worse"}})
    gone = {"type": "slack", "url": "http://127.0.0.1:9/T0/B0/xyzzy"}
    done = fleet.run(
        fleet.play(phase("stage")), deploy_hooks={"after_stage": [bad], "on_failure": [worse]},
        deploy_notifications=[gone],
    )  # fmt: skip
    assert done.returncode != 0
    assert "slack 127.0.0.1 was not told of failure" in done.stdout
    assert "xyzzy" not in done.stdout
    assert "end with the cause" in done.stdout.lower()
    end = done.stdout[done.stdout.lower().rindex("end with the cause") :]
    assert "not today" in end


def test_a_way_back_runs_no_hooks_wherever_they_are_set(fleet: Fleet) -> None:
    one = fleet.hook("one.yml", fleet.say("{{ deploy_hook }}"))
    (fleet.directory / "roll.yml").write_text(yaml.safe_dump(fleet.play(phase("roll_web"))))
    back = [{"name": "Back", "ansible.builtin.import_playbook": "roll.yml", "vars": {"webapps_hooks": {}}}]
    done = fleet.run(back, deploy_hooks={"before_roll_web": [one]})
    assert done.returncode == 0, done.stdout
    assert fleet.said() == []


def test_what_cannot_run_or_be_told_is_refused_before_anything_changes(fleet: Fleet) -> None:
    check = [*fleet.play(role("check"), hosts="localhost")]
    fine = {"deploy_hosts": {"web": ["web-1"], "builder": ["web-1"]}}
    assert fleet.run(check, **fine).returncode == 0
    done = fleet.run(check, **fine, deploy_hooks={"before_deploy": ["hooks/missing.yml"]})
    assert done.returncode != 0
    assert '"before_deploy\\", which is no hook' in done.stdout
    done = fleet.run(check, **fine, deploy_hooks={"before_build": ["hooks/missing.yml"]})
    assert f"{fleet.directory}/hooks/missing.yml" in done.stdout
    for wrong in ({"type": "webhook", "url": SECRET}, {"type": "github", "token": SECRET}, {"token": SECRET}, SECRET):
        done = fleet.run(check, **fine, deploy_notifications=[wrong])
        assert done.returncode != 0, wrong
    done = fleet.run(check, **fine, deploy_notifications={"secret": SECRET})
    assert done.returncode != 0
    assert fleet.arrived == []


@pytest.mark.parametrize("options", [[], ["-vvv"]])
def test_an_event_is_told_once_whatever_the_number_of_hosts(fleet: Fleet, options: list[str]) -> None:
    notify = {
        "name": "Tell", "ansible.builtin.import_tasks": str(TASKS / "notify.yml"), "vars": {"deploy_event": "start"}
    }  # fmt: skip
    done = fleet.run(fleet.play([notify]), *options, deploy_notifications=[webhook(fleet)])
    assert done.returncode == 0, done.stdout
    assert [told["event"] for told in fleet.arrived] == ["start"]
    assert "start was told to webhook 127.0.0.1" in done.stdout
    done = fleet.run(fleet.play([notify]), *options, "--check", deploy_notifications=[webhook(fleet)])
    assert done.returncode == 0, done.stdout
    assert len(fleet.arrived) == 1
    assert "In check mode nobody is told; start would go to webhook 127.0.0.1" in done.stdout


def test_notifications_whose_secrets_cannot_be_read_do_not_stop_a_way_back(fleet: Fleet) -> None:
    notify = {
        "name": "Tell", "ansible.builtin.import_tasks": str(TASKS / "notify.yml"), "vars": {"deploy_event": "rollback"}
    }  # fmt: skip
    unread = [{"type": "webhook", "url": "{{ lookup('ansible.builtin.file', '/nonexistent') }}"}]
    done = fleet.run(fleet.play([notify, {"name": "Go on", "ansible.builtin.ping": {}}]), deploy_notifications=unread)
    assert done.returncode == 0, done.stdout
    assert "TASK [Go on]" in done.stdout


def test_what_fails_after_the_fleet_is_proven_gives_the_lock_back_and_says_that_the_release_runs(fleet: Fleet) -> None:
    (fleet.directory / "tasks").symlink_to(TASKS)
    root = fleet.directory / "amy.example.org"
    root.mkdir()
    (root / "releases.json").write_text("{")
    plays = yaml.safe_load((ROOT / "playbooks/finish.yml").read_text())
    (tidy,) = [play for play in plays if play["name"] == "Finish | Prune, report"]
    held = {"name": "Take the lock", "ansible.builtin.include_role": {"name": "carpentries.webapps.deploy_lock"}}
    held["ansible.builtin.include_role"] |= {"tasks_from": "acquire"}
    lock = fleet.play([held], hosts="builder")
    tidy |= {"become": False, "vars": {"deploy_at_failure": "end_play", "webapps_environment_digest": "1a2b3c4d"}}
    done = fleet.run([*lock, tidy], webapps_root=str(root))
    assert done.returncode != 0
    assert "is no ledger" in done.stdout, done.stdout
    assert not (fleet.directory / "deploys/lock.json").exists(), done.stdout[-3000:]
    entry = json.loads((fleet.directory / "deploys/deploys.jsonl").read_text().splitlines()[-1])
    assert entry["result"] == "failed"
    assert "The release runs everywhere" in entry["message"]
