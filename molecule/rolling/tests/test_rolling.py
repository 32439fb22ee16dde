"""A fleet of three web hosts and a worker behind a balancer gets new releases while users keep clicking.

The tests share one fleet and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from sandbox.fleet import DOMAIN, ROOT, WEB_HOSTS, Fleet, Load, load, web_releases
from sandbox.proof import (
    CallJournal,
    HostTrees,
    changed_hosts,
    keep_environment_of,
    processes,
    recap,
    retagged,
    secrets,
    transitions,
)
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "rolling"
LONG_JOB_SECONDS = 90
SLOW_PAGE_SECONDS = 8
SLOWEST_RATIO = 3


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(OUT / "logs")


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


class SlowPages(threading.Thread):
    """A visitor who always has a slow page open, through the balancer."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.done, self.statuses = site, threading.Event(), list[int]()

    def run(self) -> None:
        while not self.done.is_set():
            self.statuses.append(self.site.get(f"/slow/?seconds={SLOW_PAGE_SECONDS}").status_code)

    @classmethod
    @contextlib.contextmanager
    def open(cls, site: Site) -> Iterator[SlowPages]:
        visitor = cls(site)
        visitor.start()
        try:
            yield visitor
        finally:
            visitor.done.set()
            visitor.join(60)


@dataclass(frozen=True)
class Roll:
    """What was seen while v2 replaced v1."""

    users: Load
    slow_statuses: list[int]
    job: str
    began: float
    ended: float
    old_css: str
    new_css: str


@pytest.fixture(scope="module")
def roll(fleet: Fleet, site: Site) -> Roll:
    fleet.deploy("v1")
    old_css, job = site.stylesheet(), site.enqueue(LONG_JOB_SECONDS)
    with load(OUT / "load") as users, SlowPages.open(site) as visitor, users.roll():
        began = time.time()
        fleet.deploy("v2")
        ended = time.time()
    return Roll(users, visitor.statuses, job, began, ended, old_css, site.stylesheet())


def test_no_request_fails_while_a_release_replaces_another(roll: Roll) -> None:
    assert roll.users.summary["failures"] == []
    assert roll.users.summary["failed"] == 0
    assert roll.users.summary["requests"] > 0


def test_both_releases_answered(roll: Roll) -> None:
    assert len(roll.users.summary["releases"]) == 2


def test_nobody_waits_much_longer_during_the_roll(roll: Roll) -> None:
    assert roll.users.summary["p99_ms"] <= SLOWEST_RATIO * roll.users.summary["p99_steady_ms"]


def test_every_host_runs_the_new_release(roll: Roll) -> None:
    releases = web_releases()
    assert set(releases) == set(WEB_HOSTS)
    assert len(set(releases.values())) == 1
    assert set(releases.values()) <= set(roll.users.summary["releases"])


def test_a_slow_page_open_while_its_host_leaves_the_pool_is_answered(roll: Roll) -> None:
    assert len(roll.slow_statuses) > 1
    assert set(roll.slow_statuses) == {200}


def test_a_long_job_enqueued_before_the_roll_finishes_after_it_once(roll: Roll, site: Site) -> None:
    job = site.finished_job(roll.job, patience=LONG_JOB_SECONDS + 60)
    assert job["state"] == "finished"
    assert job["runs"] == 1


def test_pages_of_either_release_find_their_static_files_on_every_host(roll: Roll) -> None:
    assert roll.old_css != roll.new_css
    for address in WEB_HOSTS.values():
        for css in (roll.old_css, roll.new_css):
            assert httpx.get(f"http://{address}{css}", headers={"Host": DOMAIN}).status_code == 200


def test_never_fewer_than_two_of_three_targets_are_healthy(roll: Roll) -> None:
    assert transitions().fewest_healthy(roll.began, roll.ended) >= 2


def test_every_host_left_the_pool_and_came_back(roll: Roll) -> None:
    assert transitions().targets_that_drained(roll.began, roll.ended) == 3
    assert transitions().healthy_now() == 3


def test_there_is_one_scheduler(roll: Roll) -> None:
    assert len(processes("worker-1", "rqscheduler")) == 1


def test_redeploying_the_same_version_changes_nothing_and_restarts_nothing(fleet: Fleet, roll: Roll) -> None:
    hosts = [*WEB_HOSTS, "worker-1"]
    before = {host: processes(host, "gunicorn", "rqworker", "rqscheduler") for host in hosts}
    run = fleet.deploy("v2")
    assert changed_hosts(run.output) == set()
    assert {host: processes(host, "gunicorn", "rqworker", "rqscheduler") for host in hosts} == before


def test_check_mode_of_both_playbooks_changes_nothing_and_shows_no_secret(fleet: Fleet, roll: Roll) -> None:
    trees, calls = HostTrees.now(), CallJournal.now()
    outputs = [
        fleet.site("--check", "--diff", "-vv").output,
        fleet.deploy("v2", "--check", "--diff", "-vv").output,
        # What an upgrade would do is told without doing it.
        fleet.deploy("v1", "--check", "--diff", "-vv").output,
    ]
    assert HostTrees.now().differences(trees) == []
    assert calls.writes_since() == []
    assert [secret for secret in secrets() for output in outputs if secret in output] == []


def test_a_changed_environment_variable_rolls_like_new_code(fleet: Fleet, roll: Roll) -> None:
    before = {host: processes(host, "gunicorn") for host in WEB_HOSTS}
    releases = web_releases()
    with load(OUT / "environment", steady=5) as users, users.roll():
        run = fleet.deploy("v2", "-e", "sandbox_banner=changed")
    assert users.summary["failures"] == []
    assert changed_hosts(run.output) >= set(WEB_HOSTS)
    assert web_releases() == releases
    for host, old in before.items():
        assert not old & processes(host, "gunicorn")


BAD_INPUT = {
    "an unknown ref": ("deploy_version.*v99", {"deploy_version": "v99"}),
    "an unreachable repository": ("app_release_repository", {"app_release_repository": "git://10.77.0.10/nothing.git"}),
    "a missing environment file": ("app_release_environment_file", {"app_release_environment_file": "/nowhere/env"}),
    "a domain that is no host name": ("webapps_domain", {"webapps_domain": "../etc"}),
    "a target group that does not exist": ("load_balancer_target_groups", {"load_balancer_target_groups": ["nowhere"]}),
    "no version": ("deploy_version is not set", {"deploy_version": ""}),
}


@pytest.mark.parametrize(("message", "variables"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_answered_before_anything_changes(
    fleet: Fleet, roll: Roll, message: str, variables: dict[str, object]
) -> None:
    trees, calls = HostTrees.now(), CallJournal.now()
    run = fleet.run("playbooks/deploy.yml", "-e", json.dumps({"deploy_version": "v2"} | variables))
    assert run.code != 0
    assert re.search(message, " ".join(run.output.split())), run.tail()
    assert HostTrees.now().differences(trees) == []
    assert calls.writes_since() == []


def test_an_inventory_without_web_hosts_is_refused() -> None:
    nobody = Fleet(OUT / "logs", inventory="localhost,")
    run = nobody.run("playbooks/deploy.yml", "-e", "deploy_version=v2", "-e", "webapps_domain=amy.sandbox.test")
    assert run.code != 0
    assert 'in the group "web"' in " ".join(run.output.split())


def test_a_web_host_that_is_in_no_target_group_and_never_served_is_refused(fleet: Fleet, roll: Roll) -> None:
    with retagged("db-1", Role="web"):
        run = fleet.run("playbooks/deploy.yml", "-e", "deploy_version=v2")
    assert run.code != 0
    assert re.search("db-1 .* is in none of the target groups amy-sandbox", " ".join(run.output.split())), run.tail()


@pytest.mark.parametrize(
    ("version", "evidence"),
    [("v4-no-import", ["ModuleNotFoundError", "/healthz/"]), ("v5-error-500", ["500", "/healthz/"])],
    ids=["does not import", "answers 500"],
)
def test_a_broken_release_never_receives_a_request(fleet: Fleet, roll: Roll, version: str, evidence: list[str]) -> None:
    before = web_releases()
    with load(OUT / version, steady=5) as users, users.roll():
        run = fleet.run("playbooks/deploy.yml", "-e", f"deploy_version={version}")
    assert run.code != 0
    assert [word for word in evidence if word not in run.output] == []
    assert users.summary["failures"] == []
    assert set(users.summary["releases"]) == set(before.values())
    assert web_releases() == before
    assert transitions().healthy_now() == 3


def test_the_next_plain_deploy_converges(fleet: Fleet, roll: Roll) -> None:
    fleet.deploy("v2")
    assert len(set(web_releases().values())) == 1
    assert transitions().healthy_now() == 3


def test_the_production_inventory_finds_the_same_fleet_once_it_is_tagged_so(fleet: Fleet, roll: Roll) -> None:
    production = Fleet(OUT / "logs", inventory="inventories/production", arguments=("-e", "@sandbox/production.yml"))
    keep_environment_of("web-1")
    with retagged(*WEB_HOSTS, "worker-1", Stage="production"):
        run = production.deploy("v2")
    assert set(recap(run.output)) >= {*WEB_HOSTS, "worker-1"}
    assert len(set(web_releases().values())) == 1
