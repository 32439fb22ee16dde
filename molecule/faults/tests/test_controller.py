"""The controller dies, is interrupted, or is not alone: the next deploy goes on where one stopped."""

from __future__ import annotations

import os
import signal
import threading

from sandbox.faults import (
    BUILD,
    DEPLOY_V2,
    DUMP,
    FINISH,
    JOIN,
    LEAVE,
    MIGRATE,
    PUBLISH,
    STAGE,
    WORKERS,
    Moment,
    assert_failed,
    assert_whole,
    disturbed,
    have_v2_migrate_again,
    history,
    users,
)
from sandbox.fleet import Fleet, Run
from sandbox.proof import changed_hosts
from sandbox.site import Site

KILLED = [
    *(BUILD, STAGE, DUMP, MIGRATE, WORKERS, LEAVE),
    *(Moment(PUBLISH.words, seconds=seconds) for seconds in (0.5, 2.0, 4.0)),
    *(JOIN, FINISH),
]


def kill(group: int) -> None:
    os.killpg(group, signal.SIGKILL)


def test_a_controller_killed_in_every_phase_fails_no_request_and_the_next_deploy_goes_on(
    fleet: Fleet, site: Site
) -> None:
    have_v2_migrate_again(fleet)
    job = site.enqueue(60)
    before = [entry["result"] for entry in history()].count("killed")
    with users(fleet, "killed") as seen:
        codes = [disturbed(fleet, moment, kill, *DEPLOY_V2, "-e", "sandbox_banner=killed").code for moment in KILLED]
        fleet.deploy("v2", "-e", "sandbox_banner=killed")
    assert codes == [-signal.SIGKILL] * len(KILLED)
    assert seen.summary["failures"] == []
    finished = site.finished_job(job, patience=60)
    assert (finished["state"], finished["runs"]) == ("finished", 1)
    assert [entry["result"] for entry in history()].count("killed") == before + len(KILLED)
    assert_whole(fleet)


def test_ctrl_c_between_leaving_and_joining_the_pool_is_repaired_by_the_next_deploy(fleet: Fleet) -> None:
    def press(group: int) -> None:
        os.killpg(group, signal.SIGINT)

    with users(fleet, "interrupted") as seen:
        run = disturbed(fleet, PUBLISH, press, *DEPLOY_V2, "-e", "sandbox_banner=interrupted")
        assert run.code != 0
        fleet.deploy("v2")
    assert seen.summary["failures"] == []
    assert_whole(fleet)


def test_two_deploys_at_once_are_one_deploy_and_one_refusal(fleet: Fleet) -> None:
    refusals: list[Run] = []

    def second(_group: int) -> None:
        refusals.append(fleet.run(*DEPLOY_V2))

    run = disturbed(fleet, BUILD, second, *DEPLOY_V2, "-e", "sandbox_banner=first")
    assert run.code == 0, run.tail()
    (refused,) = refusals
    assert_failed(refused, "is held: ", 'version v2, reason "deploy"', "deploy_lock_wait")
    assert_whole(fleet)


def test_a_second_deploy_that_waits_runs_when_the_first_has_ended(fleet: Fleet) -> None:
    waited: list[Run] = []
    waiting = threading.Thread(target=lambda: waited.append(fleet.run(*DEPLOY_V2, "-e", "deploy_lock_wait=600")))
    run = disturbed(fleet, BUILD, lambda _group: waiting.start(), *DEPLOY_V2, "-e", "sandbox_banner=waited")
    waiting.join()
    assert (run.code, waited[0].code) == (0, 0), waited[0].tail()
    assert changed_hosts(fleet.deploy("v2").output) == set()
