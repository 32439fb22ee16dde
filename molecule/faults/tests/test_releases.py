"""A release is bad, or is damaged on its way: it does not stay anywhere, and says why."""

from __future__ import annotations

import json
import subprocess

from sandbox.faults import DEPLOY_V2, assert_failed, assert_whole, serving, users
from sandbox.fleet import DOMAIN, Fleet
from sandbox.proof import states

# What never gets well is given up sooner than by default.
SOON = {"gunicorn_health_timeout": 20}


def test_a_release_that_boots_after_the_deadline_is_taken_back(fleet: Fleet) -> None:
    before = serving()
    with users(fleet, "slow_boot") as seen:
        slow = json.dumps({"deploy_version": "v6-slow-boot", "gunicorn_health_timeout": 2})
        run = fleet.run("playbooks/deploy.yml", "-e", slow)
    assert_failed(run, "The fleet went back to v2")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert "bad" in states("worker-1").values()
    assert_whole(fleet)


def test_a_release_that_answers_as_another_one_is_taken_back(fleet: Fleet) -> None:
    before = serving()
    with users(fleet, "wrong_release") as seen:
        run = fleet.run("playbooks/deploy.yml", "-e", json.dumps({"deploy_version": "v8-wrong-release"} | SOON))
    assert_failed(run, "of-another-build", "The fleet went back to v2")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)


def test_what_fails_is_left_as_it_is_where_somebody_wants_to_look_at_it(fleet: Fleet) -> None:
    path = "{{ '/nowhere/' if inventory_hostname == 'web-2' else '/healthz/' }}"
    given = {"deploy_version": "v1", "deploy_on_failure": "stop", "gunicorn_health_path": path} | SOON
    before = serving()
    with users(fleet, "stopped") as seen:
        run = fleet.run("playbooks/deploy.yml", "-e", json.dumps(given))
    now = serving()
    assert_failed(run, "Nothing was taken back", f"web-1 runs v1 ({now['web-1']})", "playbooks/rollback.yml")
    assert seen.summary["failures"] == []
    assert now["web-2"] == before["web-2"]
    assert now["web-1"] != before["web-1"]
    assert_whole(fleet)


def test_an_artifact_that_is_damaged_on_its_way_is_not_unpacked(fleet: Fleet) -> None:
    before = serving()
    place = f"/var/lib/webapps/{DOMAIN}/artifacts"
    # Whatever arrives on that host loses its end, before anybody reads it.
    damage = f"while sleep 0.02; do for f in {place}/*.tar.zst; do [ -s $f ] && truncate -s -64 $f && exit; done; done"
    subprocess.run(["docker", "exec", "webapps-web-2", "sh", "-c", f"rm -rf {place}/*"], check=True)
    with subprocess.Popen(["docker", "exec", "webapps-web-2", "sh", "-c", damage]) as damaging:
        with users(fleet, "damaged") as seen:
            run = fleet.run("playbooks/deploy.yml", "-e", "deploy_version=v7-slow-request-long-job")
        damaging.terminate()
    assert_failed(run, "web-2", "is damaged: its SHA-256 is")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)
    assert fleet.run(*DEPLOY_V2).code == 0
