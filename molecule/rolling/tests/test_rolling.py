"""A fleet of three web hosts and a worker behind a balancer gets new releases while users keep clicking.

The tests share one fleet and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import yaml

from sandbox.fleet import BUSY, DOMAIN, ONE_AT_A_TIME, ROOT, STATE, WEB_HOSTS, Fleet, Load, load, web_releases
from sandbox.proof import (
    FLEET,
    CallJournal,
    HostTrees,
    changed_hosts,
    keep_environment_of,
    live_releases,
    on,
    parameters,
    processes,
    recap,
    retagged,
    secrets,
    states,
    transitions,
)
from sandbox.quiet import alone
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "rolling"
LONG_JOB_SECONDS = 90
SLOW_PAGE_SECONDS = 8
SLOWEST_RATIO = 3
# What never gets well is given up sooner than by default.
SOON = {"gunicorn_health_timeout": 20}


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(OUT / "logs")


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@contextlib.contextmanager
def webhook(secret: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a receiver of notifications, and the events that came, each signed."""
    events: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            signed = hmac.compare_digest(self.headers["X-Webapps-Signature-256"], signature)
            events.append(json.loads(body)["event"] if signed else "not signed")
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", events
        server.shutdown()


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
    with alone(), load(OUT / "load", rate=BUSY) as users, SlowPages.open(site) as visitor, users.roll():
        began = time.time()
        fleet.deploy("v2", ONE_AT_A_TIME)
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
        fleet.must("playbooks/plan.yml", "-e", "deploy_version=v1", "-vv").output,
    ]
    assert re.search(r"web-3 \(i-\w+\) leaves amy-sandbox", " ".join(outputs[-1].split())), outputs[-1]
    assert HostTrees.now().differences(trees) == []
    assert calls.writes_since() == []
    assert [secret for secret in secrets() for output in outputs if secret in output] == []


def test_a_changed_environment_variable_rolls_like_new_code_with_hooks_and_notifications(
    fleet: Fleet, roll: Roll
) -> None:
    before = {host: processes(host, "gunicorn") for host in WEB_HOSTS}
    releases = web_releases()
    given: dict[str, object] = {"deploy_version": "v2", "sandbox_banner": "changed"}
    note = str(ROOT / "molecule/rolling/hooks/note.yml")
    given["deploy_hooks"] = {
        hook: [note] for hook in ("after_stage", "before_roll_web", "before_migrate", "after_finish")
    }
    with load(OUT / "environment", steady=5) as users, users.roll(), webhook("a secret of theirs") as (url, events):
        told = [
            {"type": "webhook", "url": url, "secret": "a secret of theirs"},
            # Nobody listens there: a warning, and the roll goes on.
            {"type": "slack", "url": "http://127.0.0.1:9/"},
        ]
        run = fleet.must("playbooks/deploy.yml", "-e", json.dumps(given | {"deploy_notifications": told}))
    assert events == ["start", "success"]
    assert "127.0.0.1" in run.output
    assert "a secret of theirs" not in run.output
    ran = {host: on(host, "cat", "/run/webapps/hooks").splitlines() for host in FLEET}
    for host in WEB_HOSTS:
        every = [line for line in ran[host] if not line.startswith("before_migrate")]
        assert every == [f"{hook} of v2" for hook in ("after_stage", "before_roll_web", "after_finish")]
    assert ran["worker-1"] == ["after_stage of v2", "after_finish of v2"]
    assert sorted(line for lines in ran.values() for line in lines).count("before_migrate of v2") == 1
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
        run = fleet.run("playbooks/deploy.yml", "-e", json.dumps({"deploy_version": version} | SOON))
    assert run.code != 0
    assert [word for word in evidence if word not in run.output] == []
    assert users.summary["failures"] == []
    assert set(users.summary["releases"]) == set(before.values())
    assert web_releases() == before
    assert transitions().healthy_now() == 3


def test_going_back_takes_no_version_passes_over_what_failed_and_fails_no_request(fleet: Fleet, roll: Roll) -> None:
    """Since v2 replaced v1 there were a deploy of the same, one of another environment, and two that failed."""
    old = next(release for release in roll.users.summary["releases"] if release not in web_releases().values())
    with load(OUT / "rollback", steady=5) as users, users.roll():
        run = fleet.must("playbooks/rollback.yml")
    assert users.summary["failures"] == []
    assert set(web_releases().values()) == {old}
    assert f"The fleet goes back to v1 ({old})." in run.output
    assert "notes.0002_note_topic" in run.output, "it says which migrations stay"
    assert set(live_releases().values()) == {old}
    assert len(processes("worker-1", "rqscheduler")) == 1
    assert transitions().healthy_now() == 3


def test_what_was_left_is_bad_and_nothing_goes_back_to_it(fleet: Fleet, roll: Roll) -> None:
    left = set(roll.users.summary["releases"]) - set(web_releases().values())
    assert {states(host)[release] for host in FLEET for release in left} == {"bad"}
    again = fleet.run("playbooks/rollback.yml")
    assert again.code != 0
    assert "There is no release to go back to" in " ".join(again.output.split())


def test_a_release_that_fails_on_the_second_host_is_taken_back_from_all(fleet: Fleet, roll: Roll) -> None:
    before, second = web_releases(), "web-2"
    path = f"{{{{ '/nowhere/' if inventory_hostname == '{second}' else '/healthz/' }}}}"
    with load(OUT / "second_host", steady=5) as users, users.roll():
        run = fleet.run(
            "playbooks/deploy.yml", "-e", json.dumps({"deploy_version": "v2", "gunicorn_health_path": path} | SOON)
        )
    said = " ".join(run.output.split())
    assert run.code != 0
    assert users.summary["failures"] == []
    assert len(users.summary["releases"]) == 2, "the first host served it for a while"
    assert f"The fleet went back to v1 ({before[second]})." in said, run.tail()
    assert "GET http" in said
    assert web_releases() == before
    assert set(live_releases().values()) == set(before.values())
    assert transitions().healthy_now() == 3


def test_the_next_plain_deploy_converges(fleet: Fleet, roll: Roll) -> None:
    fleet.deploy("v2")
    (release,) = set(web_releases().values())
    # It was bad since the fleet had left it.
    assert {states(host)[release] for host in FLEET} == {"live"}
    assert transitions().healthy_now() == 3


def test_the_production_inventory_finds_the_same_fleet_once_it_is_tagged_so(fleet: Fleet, roll: Roll) -> None:
    production = Fleet(OUT / "logs", inventory="inventories/production", arguments=("-e", "@sandbox/production.yml"))
    keep_environment_of("web-1")
    kept = yaml.safe_load((ROOT / "inventories/secrets/vault.example.yml").read_text()) | {
        "AMY_SECRET_KEY": "from-parameter-store",
        "REDIS_PASSWORD": (STATE / "secrets/redis").read_text().split()[0],
    }
    with retagged(*WEB_HOSTS, "worker-1", Stage="production"), parameters("/amy/production", kept):
        run = production.deploy("v2")
    assert set(recap(run.output)) >= {*WEB_HOSTS, "worker-1"}
    assert len(set(web_releases().values())) == 1
    assert "AMY_SECRET_KEY='from-parameter-store'" in on("web-1", "cat", f"/webapps/{DOMAIN}/environment")
