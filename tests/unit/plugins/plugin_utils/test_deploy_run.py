"""A run is the same in all its tasks, tells a dead one from a living one, and waits as long as it was told."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_lock import Owner
from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_run import (
    asked,
    controller,
    has_ended,
    started,
    this_run,
)

FORK = multiprocessing.get_context("fork")
HERE = this_run({})


def test_the_workers_of_a_run_say_the_same_as_the_run_and_another_process_does_not() -> None:
    queue = FORK.SimpleQueue()
    worker = FORK.Process(target=lambda: queue.put(this_run({})))
    worker.start()
    assert queue.get() == HERE
    worker.join()
    program = (
        "from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_run import this_run; "
        "print(this_run({}).run)"
    )
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{root}/.collections"}
    other = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip().startswith("r")
    assert other.stdout.strip() != HERE.run


def test_an_owner_is_user_and_host_and_what_ci_says() -> None:
    assert "@" in HERE.owner
    words = {"GITHUB_ACTOR": "octo\ncat", "GITHUB_RUN_ID": "7", "GITHUB_TOKEN": "hidden", "BUILD_TAG": ""}
    assert this_run(words).owner == f"{HERE.owner} (GITHUB_ACTOR octo cat, GITHUB_RUN_ID 7)"


def lock_of(pid: int, **more: Any) -> dict[str, Any]:
    return {**asdict(replace(HERE, run="r9", pid=pid, started=started(pid))), **more}


def test_a_process_that_runs_has_not_ended_and_one_that_was_killed_has() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        lock = lock_of(process.pid)
        assert not has_ended(lock, HERE)
        process.kill()
        # Nobody has asked how it ended: it is a zombie now, or in a moment.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(lock, HERE)
        process.wait()
        assert has_ended(lock, HERE)


def test_a_later_process_of_the_same_number_is_another() -> None:
    assert has_ended(lock_of(os.getpid(), started="1"), HERE)


def test_of_another_controller_nothing_is_known() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert has_ended(lock_of(process.pid), HERE)
    assert not has_ended(lock_of(process.pid, controller="elsewhere"), HERE)
    assert not has_ended(lock_of(process.pid, controller=""), replace(HERE, controller=""))


def test_a_container_is_another_controller_than_its_host(tmp_path: Path) -> None:
    def proc(name: str, boot: str, processes: str) -> Path:
        (tmp_path / name / "sys/kernel/random").mkdir(parents=True)
        (tmp_path / name / "sys/kernel/random/boot_id").write_text(boot)
        (tmp_path / name / "self/ns").mkdir(parents=True)
        (tmp_path / name / "self/ns/pid").symlink_to(processes)
        return tmp_path / name

    seen = [controller(proc(*words)) for words in (("a", "x", "pid:[1]"), ("b", "x", "pid:[2]"), ("c", "y", "pid:[1]"))]
    assert len({*seen, controller()}) == 4
    assert controller(tmp_path / "none") == ""


class Host:
    """Answers with a lock that is held until a time, or by a run that has ended."""

    def __init__(self, lock: dict[str, Any], until: float = 1e9, refused: str = "held", check: bool = False) -> None:
        self.lock, self.until, self.refused, self.check = lock, until, refused, check
        self.now = 0.0
        self.asked: list[list[str]] = []
        self.said: list[str] = []

    def ask(self, ended: Sequence[str]) -> dict[str, Any]:
        self.asked.append(list(ended))
        if self.now >= self.until or self.lock["run"] in ended:
            return {"changed": True, "lock": None}
        return {"failed": not self.check, "refused": self.refused, "lock": self.lock}

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def answer(self, wait: float, here: Owner = HERE) -> dict[str, Any]:
        return asked(self.ask, here, wait, clock=lambda: self.now, sleep=self.sleep, say=self.said.append)


def test_without_waiting_a_lock_that_is_held_refuses_at_once() -> None:
    host = Host(lock_of(os.getpid()))
    assert host.answer(0)["failed"]
    assert (host.asked, host.now) == ([[]], 0)


def test_a_lock_is_waited_for_as_long_as_told_and_no_longer() -> None:
    assert Host(lock_of(os.getpid()), until=12).answer(60)["changed"]
    host = Host(lock_of(os.getpid()), until=61)
    assert host.answer(60)["failed"]
    assert host.now == 60
    assert host.said == [f"The deploy lock is held by {HERE.owner}; waiting for up to 60 s."]


@pytest.mark.parametrize("check", [True, False])
def test_the_lock_of_a_run_that_has_ended_is_asked_for_again_without_waiting(check: bool) -> None:
    host = Host(lock_of(os.getpid(), started="1"), check=check)
    assert host.answer(0)["changed"]
    assert (host.asked, host.now) == ([[], ["r9"]], 0)


def test_a_holder_that_ends_while_it_is_waited_for_is_found_out() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        host = Host(lock_of(process.pid))
        slept = host.sleep
        host.sleep = lambda seconds: (slept(seconds), process.kill(), process.wait())  # type: ignore[assignment, method-assign]
        assert host.answer(600)["changed"]
    assert host.now == 5


def test_a_freeze_and_check_mode_are_not_waited_for() -> None:
    for host in (Host(lock_of(os.getpid()), refused="frozen"), Host(lock_of(os.getpid()), check=True)):
        host.answer(600)
        assert (len(host.asked), host.now) == (1, 0)
