"""The maintenance page on and off, and releases that are replaced behind it, while users keep clicking.

Every request is answered by a release or by the whole page, and by the page only while it is on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.fleet import DOMAIN, ROOT, WEB_HOSTS, Fleet, Load, load, web_releases
from sandbox.proof import changed_hosts, on, processes, transitions
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "operations" / "maintenance"
HOSTS = {name: WEB_HOSTS[name] for name in ("web-1", "web-2")}
IN_MAINTENANCE = ("-e", "deploy_maintenance=true")
SLOW_PAGE_SECONDS = 8
LONG_JOB_SECONDS = 90
PLAYBOOK = "playbooks/maintenance.yml"


@dataclass(frozen=True)
class Requests:
    """What came of every request."""

    records: list[dict[str, Any]]

    @classmethod
    def of(cls, users: Load) -> Requests:
        return cls([json.loads(line) for line in (users.out / "requests.jsonl").read_text().splitlines()])

    def answered_within(self, begin: float, end: float) -> list[dict[str, Any]]:
        """Those that began and ended between two times, in seconds since the epoch."""
        return [each for each in self.records if begin <= each["start"] and each["start"] + each["ms"] / 1000 <= end]

    def pages_within(self, begin: float, end: float) -> set[bool]:
        """Whether those got the page."""
        return {each["maintenance"] for each in self.answered_within(begin, end)}


def shown() -> dict[str, bool]:
    """Whether each host has the page on, by its file."""
    return {host: "maintenance_on.html" in on(host, "ls", f"/webapps/{DOMAIN}").split() for host in HOSTS}


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(fleet: Fleet) -> Iterator[None]:
    """The fleet is left with the data and the release that it had."""
    as_postgres = ("runuser", "-u", "postgres", "--")
    on("db-1", *as_postgres, "pg_dump", "--format=custom", "--file=/tmp/before.dump", "amy")
    yield
    fleet.must(PLAYBOOK, "--tags", "off")
    on("db-1", *as_postgres, "pg_restore", "--clean", "--if-exists", "--dbname=amy", "/tmp/before.dump")
    fleet.deploy("v1")
    assert shown() == {"web-1": False, "web-2": False}


def test_every_request_gets_the_site_or_while_it_is_on_the_page(fleet: Fleet) -> None:
    with load(OUT / "switch", steady=5, maintenance=True) as users, users.roll():
        begin = time.time()
        fleet.must(PLAYBOOK, "--tags", "on")
        on_everywhere = time.time()
        assert shown() == {"web-1": True, "web-2": True}
        time.sleep(5)
        going_off = time.time()
        fleet.must(PLAYBOOK, "--tags", "off")
        off_everywhere = time.time()
    requests = Requests.of(users)
    assert users.summary["failures"] == []
    assert requests.pages_within(0, begin) == {False}
    assert requests.pages_within(on_everywhere, going_off) == {True}
    assert requests.pages_within(off_everywhere, time.time()) == {False}
    assert transitions().fewest_healthy(begin, off_everywhere) == len(HOSTS)


def test_behind_an_operators_page_hosts_are_configured_and_releases_published(fleet: Fleet) -> None:
    fleet.must(PLAYBOOK, "--tags", "on", "-e", '{"maintenance_message": "Words of the operator."}')
    with load(OUT / "behind", steady=3, maintenance=True) as users, users.roll():
        assert changed_hosts(fleet.site().output) == set()
        fleet.deploy("v2", *IN_MAINTENANCE)
    assert users.summary["failures"] == []
    assert users.summary["maintenance"] == users.summary["requests"]
    assert len(set(web_releases(HOSTS).values())) == 1
    # It is the operator's: a deploy neither rewrites it nor takes it down.
    assert "Words of the operator." in on("web-1", "cat", f"/webapps/{DOMAIN}/maintenance_on.html")
    fleet.must(PLAYBOOK, "--tags", "off")


def test_a_release_that_fails_behind_the_page_leaves_it_on_and_says_how_to_go_back(fleet: Fleet) -> None:
    before = web_releases(HOSTS)
    with load(OUT / "failing", steady=5, maintenance=True) as users, users.roll():
        run = fleet.run("playbooks/deploy.yml", "-e", "deploy_version=v5-error-500", *IN_MAINTENANCE)
        assert run.code != 0
        assert shown() == {"web-1": True, "web-2": True}
        said = " ".join(run.output.split())
        assert "The maintenance page stays on" in said, run.tail()
        assert f"web-1 runs v2 ({before['web-1']}) and shows the page." in said
        assert "all are applied, none of them by this run" in said or "none was applied by this run" in said
        assert "-e deploy_version=v2 -e deploy_maintenance=true" in said
        # The way back that it names; a plain deploy would do as well.
        fleet.deploy("v2")
    assert users.summary["failures"] == []
    assert shown() == {"web-1": False, "web-2": False}
    assert web_releases(HOSTS) == before
    assert len(processes("worker-1", "rqscheduler")) == 1
    assert processes("worker-1", "rqworker")


class SlowPages(threading.Thread):
    """A visitor who always has a slow page open."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.done, self.statuses = site, threading.Event(), list[int]()

    def run(self) -> None:
        while not self.done.is_set():
            self.statuses.append(self.site.get(f"/slow/?seconds={SLOW_PAGE_SECONDS}").status_code)
            # The page comes at once.
            self.done.wait(0.5)


def test_a_release_that_the_old_code_does_not_survive_fails_no_request_behind_the_page(
    fleet: Fleet, site: Site
) -> None:
    before = web_releases(HOSTS)
    job, slow = site.enqueue(LONG_JOB_SECONDS), SlowPages(site)
    with load(OUT / "incompatible", steady=5, maintenance=True) as users, users.roll():
        slow.start()
        begin = time.time()
        fleet.deploy("v3-incompatible", *IN_MAINTENANCE)
        end = time.time()
        slow.done.set()
        slow.join(60)
    assert users.summary["failures"] == []
    assert users.summary["maintenance"] > 0
    assert Requests.of(users).pages_within(end, time.time()) == {False}
    assert set(slow.statuses) == {200, 503}
    assert set(web_releases(HOSTS).values()).isdisjoint(before.values())
    assert shown() == {"web-1": False, "web-2": False}
    finished = site.finished_job(job, patience=30)
    assert (finished["state"], finished["runs"]) == ("finished", 1)
    assert transitions().fewest_healthy(begin, end) == len(HOSTS)


def test_deploying_it_again_changes_nothing(fleet: Fleet) -> None:
    assert changed_hosts(fleet.deploy("v3-incompatible").output) == set()
