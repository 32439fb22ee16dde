"""Two deploys never work at once, a dead one stands in nobody's way, and a freeze is lifted by a person alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

SCENARIO = Path(__file__).parent.parent
PROJECT = SCENARIO.parent.parent
DIRECTORY = "/var/lib/webapps/amy.example.org/deploys"
DEPLOY = SCENARIO / "deploy.yml"
LOCK, UNLOCK = PROJECT / "playbooks/lock.yml", PROJECT / "playbooks/unlock.yml"
# YAML would break long lines wherever they happen to be long.
ENVIRONMENT = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}


def command(playbook: Path, *arguments: str, **variables: object) -> list[str]:
    inventory = f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    shared = f"--extra-vars=@{PROJECT}/molecule/shared/vars.yml"
    return ["ansible-playbook", inventory, shared, f"--extra-vars={json.dumps(variables)}", *arguments, str(playbook)]


def play(playbook: Path, *arguments: str, **variables: object) -> tuple[int, str]:
    """The exit status, and what was said, in one line."""
    run = subprocess.run(
        command(playbook, *arguments, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    return run.returncode, " ".join(run.stdout.split())


@contextmanager
def a_deploy_at_work(host: Host, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    at_work = tmp_path / "at_work"
    at_work.touch()
    playing = command(DEPLOY, scenario_at_work=str(at_work))
    with subprocess.Popen(playing, stdout=subprocess.DEVNULL, env=ENVIRONMENT, start_new_session=True) as run:
        while not host.file(f"{DIRECTORY}/lock.json").exists:
            assert run.poll() is None
            time.sleep(0.2)
        yield run, json.loads(host.file(f"{DIRECTORY}/lock.json").content_string)
        at_work.unlink()


def history(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.file(f"{DIRECTORY}/deploys.jsonl").content_string.splitlines()]


def test_a_second_deploy_is_refused_or_waits_and_the_freeze_between_them_is_lifted_by_a_person(
    host: Host, tmp_path: Path
) -> None:
    with a_deploy_at_work(host, tmp_path) as (first, lock):
        status, said = play(DEPLOY)
        assert status != 0
        assert f"is held: {lock['owner']}, run {lock['run']}, version v2" in said
        assert re.search(r"ansible-playbook playbooks/unlock\.yml -i \S+ -e unlock_run=" + lock["run"], said)
        status, said = play(DEPLOY, "--check")
        assert status == 0, said
        assert "is held" in said
        waiting = subprocess.Popen(command(DEPLOY, deploy_lock_wait=60), stdout=subprocess.PIPE, text=True)
        # Without the name of the run it says who deploys and breaks nothing.
        status, said = play(UNLOCK)
        assert status == 0, said
        assert f"unlock_run={lock['run']}" in said
        assert set(re.findall(r"changed=(\d+)", said)) == {"0"}
    assert first.returncode == 0
    output, _errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output
    assert [record["result"] for record in history(host)[-2:]] == ["success", "success"]
    assert not host.file(f"{DIRECTORY}/lock.json").exists
    assert host.run(f"runuser -u nobody -- ls {DIRECTORY}").rc != 0
    assert host.check_output(f"find {DIRECTORY} -type f ! -perm 0600") == ""

    assert "lock_reason" in play(LOCK)[1]
    assert "changed=1 " in play(LOCK, "--check", lock_reason="workshop week")[1]
    assert not host.file(f"{DIRECTORY}/freeze.json").exists
    assert "changed=1 " in play(LOCK, lock_reason="workshop week")[1]
    began, wait = time.monotonic(), 600
    status, said = play(DEPLOY, deploy_lock_wait=wait)
    assert status != 0
    assert "frozen by" in said
    assert "workshop week" in said
    assert time.monotonic() - began < wait / 2, "who has frozen deploys is not waited for"
    assert "changed=1 " in play(UNLOCK)[1]
    assert not host.file(f"{DIRECTORY}/freeze.json").exists


def test_a_deploy_that_was_killed_is_taken_over_at_once_and_recorded(host: Host, tmp_path: Path) -> None:
    before = history(host)
    with a_deploy_at_work(host, tmp_path) as (run, lock):
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        status, said = play(DEPLOY)
        assert status == 0, said
        assert f"taken over from {lock['owner']}, run {lock['run']}" in said
        assert "changed=0 " in said
    added = history(host)[len(before) :]
    assert [(record["run"] == lock["run"], record["result"]) for record in added] == [
        (True, "killed"),
        (False, "success"),
    ]


def test_a_lock_is_broken_only_by_the_name_of_its_run(host: Host, tmp_path: Path) -> None:
    with a_deploy_at_work(host, tmp_path) as (run, lock):
        status, said = play(UNLOCK, unlock_run="r0")
        assert status != 0
        assert "Nothing was broken" in said
        assert "changed=1 " in play(UNLOCK, unlock_run=lock["run"])[1]
    # It stops at its next sign of life.
    assert run.returncode != 0
    assert history(host)[-1]["result"] == "broken"
