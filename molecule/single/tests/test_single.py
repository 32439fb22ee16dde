"""One server without a balancer gets a new release while users keep clicking."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import pytest

from sandbox.faults import DEPLOY_V2, PUBLISH, disturbed
from sandbox.fleet import ROOT, Fleet, Load, load, web_releases
from sandbox.proof import changed_hosts, live_releases, processes
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "single"
HOST = {"single": "10.78.0.11"}
# Its users know it by its own authority.
AUTHORITY = ROOT / ".cache" / "single" / "tls" / "ca.pem"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(OUT / "logs", inventory="molecule/single/inventory")


@contextlib.contextmanager
def clicking(name: str) -> Iterator[Load]:
    """Users of the server, all the time; what they saw is in the summary afterwards."""
    with load(OUT / name, connect=f"{HOST['single']}:443", authority=AUTHORITY, steady=5) as users, users.roll():
        yield users


@pytest.fixture(scope="module")
def users(fleet: Fleet) -> Load:
    fleet.deploy("v1")
    with clicking("load") as users:
        fleet.deploy("v2")
    return users


def test_no_request_fails_while_a_release_replaces_another(users: Load) -> None:
    assert users.summary["failures"] == []
    assert users.summary["requests"] > 0
    assert len(users.summary["releases"]) == 2


def test_the_new_release_serves(users: Load) -> None:
    assert set(web_releases(HOST).values()) <= set(users.summary["releases"])


def test_jobs_run_on_the_same_host(users: Load) -> None:
    site = Site(HOST["single"], AUTHORITY)
    assert site.finished_job(site.enqueue(1), patience=60)["runs"] == 1


def test_redeploying_the_same_version_changes_nothing_and_restarts_nothing(fleet: Fleet, users: Load) -> None:
    before = processes("single", "gunicorn", "rqworker", "rqscheduler")
    assert changed_hosts(fleet.deploy("v2").output) == set()
    assert processes("single", "gunicorn", "rqworker", "rqscheduler") == before


def test_a_broken_release_never_receives_a_request(fleet: Fleet, users: Load) -> None:
    before = web_releases(HOST)
    broken = {"deploy_version": "v5-error-500", "gunicorn_health_timeout": 20}
    with clicking("broken") as seen:
        run = fleet.run("playbooks/deploy.yml", "-e", json.dumps(broken))
    assert run.code != 0
    assert "500" in run.output
    assert seen.summary["failures"] == []
    assert set(seen.summary["releases"]) == set(before.values()) == set(web_releases(HOST).values())


def test_a_controller_killed_while_it_publishes_fails_no_request_and_the_next_deploy_converges(
    fleet: Fleet, users: Load
) -> None:
    changed = ("-e", "sandbox_banner=killed")
    with clicking("killed") as seen:
        run = disturbed(fleet, PUBLISH, lambda group: os.killpg(group, signal.SIGKILL), *DEPLOY_V2, *changed)
        assert run.code == -signal.SIGKILL
        fleet.deploy("v2", *changed)
    assert seen.summary["failures"] == []
    assert live_releases(tuple(HOST)) == web_releases(HOST)
    assert changed_hosts(fleet.deploy("v2", *changed).output) == set()


def test_going_back_passes_over_what_failed_and_fails_no_request(fleet: Fleet, users: Load) -> None:
    (old,) = set(users.summary["releases"]) - set(web_releases(HOST).values())
    with clicking("rollback") as seen:
        fleet.must("playbooks/rollback.yml")
    assert seen.summary["failures"] == []
    assert web_releases(HOST) == {"single": old}
