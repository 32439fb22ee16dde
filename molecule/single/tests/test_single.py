"""One server without a balancer gets a new release while users keep clicking."""

from __future__ import annotations

import pytest

from sandbox.fleet import ROOT, WEB_HOSTS, Fleet, Load, load, web_releases
from sandbox.proof import changed_hosts, processes
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "single"
HOST = {"web-1": WEB_HOSTS["web-1"]}


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(OUT / "logs", inventory="molecule/single/inventory")


@pytest.fixture(scope="module")
def users(fleet: Fleet) -> Load:
    fleet.deploy("v1")
    with load(OUT / "load", connect=f"{HOST['web-1']}:443") as users, users.roll():
        fleet.deploy("v2")
    return users


def test_no_request_fails_while_a_release_replaces_another(users: Load) -> None:
    assert users.summary["failures"] == []
    assert users.summary["requests"] > 0
    assert len(users.summary["releases"]) == 2


def test_the_new_release_serves(users: Load) -> None:
    assert set(web_releases(HOST).values()) <= set(users.summary["releases"])


def test_jobs_run_on_the_same_host(users: Load) -> None:
    site = Site(HOST["web-1"])
    assert site.finished_job(site.enqueue(1), patience=60)["runs"] == 1


def test_redeploying_the_same_version_changes_nothing_and_restarts_nothing(fleet: Fleet, users: Load) -> None:
    before = processes("web-1", "gunicorn", "rqworker", "rqscheduler")
    assert changed_hosts(fleet.deploy("v2").output) == set()
    assert processes("web-1", "gunicorn", "rqworker", "rqscheduler") == before
