"""A host is lost, full, wrong about the time, or changed by hand while it is deployed to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.faults import (
    BUILD,
    DEPLOY_V2,
    DUMP,
    MIGRATE,
    PUBLISH_SECOND,
    STAGE,
    WORKERS,
    Moment,
    assert_failed,
    assert_whole,
    boot,
    disturbed,
    have_v2_migrate_again,
    migrated,
    serving,
    stop_hard,
    users,
    web,
)
from sandbox.fleet import DOMAIN, Fleet, Load, web_releases
from sandbox.proof import on, transitions

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def unanswered(seen: Load, lost: str) -> list[dict[str, Any]]:
    """Requests that failed although the balancer knew, or should have known, that a host was lost.

    Those that a host had taken when its power was cut nobody can answer, nor those that the balancer sends it until its
    health check notices.
    """
    requests = [json.loads(line) for line in (seen.out / "requests.jsonl").read_text().splitlines()]
    failed = [request for request in requests if request["error"]]
    noticed = [
        entry["time"] for entry in transitions().entries if entry["from"] == "healthy" and entry["to"] == "unhealthy"
    ]
    until = noticed[-1] if noticed and lost in web() else 0.0
    return [request for request in failed if request["start"] > until]


@pytest.mark.parametrize(
    ("host", "moment"),
    [
        pytest.param("worker-1", BUILD, id="the builder while it builds"),
        pytest.param("web-2", STAGE, id="a web host while it unpacks the release"),
        pytest.param("web[0]", DUMP, id="the host that dumps the database"),
        pytest.param("web[0]", MIGRATE, id="the host that migrates"),
        pytest.param("worker-1", WORKERS, id="the worker host while its workers are replaced"),
    ],
)
def test_a_host_that_is_lost_ends_the_run_with_its_name(fleet: Fleet, host: str, moment: Moment) -> None:
    if host == "web[0]":
        # Both of its phases need a migration that is pending.
        have_v2_migrate_again(fleet)
        host = fleet.hosts("web")[0]
    with users(fleet, f"lost_{host}") as seen:
        run = disturbed(fleet, moment, lambda _group: stop_hard(host), *DEPLOY_V2, "-e", "sandbox_banner=lost")
    boot(host)
    assert_failed(run, host)
    assert unanswered(seen, host) == []
    assert_whole(fleet)


def test_a_web_host_that_is_lost_while_it_is_published_costs_no_request_and_the_other_goes_back(fleet: Fleet) -> None:
    before = serving()
    with users(fleet, "lost_in_the_roll") as seen:
        run = disturbed(
            fleet, PUBLISH_SECOND, lambda _group: stop_hard("web-2"), "playbooks/deploy.yml", "-e", "deploy_version=v1"
        )
    now = web_releases({"web-1": web()["web-1"]})
    boot("web-2")
    assert_failed(run, "web-2 does not answer: what it runs is unknown, and it is kept out of the pool.")
    assert seen.summary["failures"] == []
    assert now["web-1"] == before["web-1"]
    assert_whole(fleet)


def test_a_builder_that_answers_no_more_while_web_hosts_are_rolled_keeps_none_of_them_from_going_back(
    fleet: Fleet,
) -> None:
    def hang_up(_group: int) -> None:
        # The brackets keep it from ending itself.
        on("worker-1", "sh", "-c", "systemctl stop ssh; pkill --full '[s]shd: '")

    before = serving()
    try:
        with users(fleet, "unreachable_builder") as seen:
            run = disturbed(fleet, PUBLISH_SECOND, hang_up, "playbooks/deploy.yml", "-e", "deploy_version=v1")
        now = serving()
    finally:
        on("worker-1", "systemctl", "start", "ssh")
    assert_failed(run, "worker-1 does not answer", "and worker-1 did not.")
    assert seen.summary["failures"] == []
    assert now == before
    assert_whole(fleet)


def test_a_builder_that_is_lost_while_web_hosts_are_rolled_keeps_none_of_them_from_going_back(fleet: Fleet) -> None:
    before = serving()
    with users(fleet, "lost_builder") as seen:
        run = disturbed(
            fleet,
            PUBLISH_SECOND,
            lambda _group: stop_hard("worker-1"),
            "playbooks/deploy.yml",
            "-e",
            "deploy_version=v1",
        )
    now = serving()
    boot("worker-1")
    assert_failed(run, "worker-1 does not answer", "and worker-1 did not.")
    assert seen.summary["failures"] == []
    assert now == before
    assert_whole(fleet)


def test_a_disk_that_is_full_on_one_host_stops_the_deploy_before_anybody_notices(fleet: Fleet) -> None:
    place = f"/var/lib/webapps/{DOMAIN}/artifacts"
    before = serving()
    on("web-2", "sh", "-c", f"rm -rf {place}/* && mount -t tmpfs -o size=64k tmpfs {place}")
    try:
        with users(fleet, "full") as seen:
            run = fleet.run("playbooks/deploy.yml", "-e", "deploy_version=v7-slow-request-long-job")
    finally:
        on("web-2", "umount", place)
    assert_failed(run, "web-2", "No space left")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)


def test_a_disk_without_room_for_the_dump_is_told_before_anything_is_migrated(fleet: Fleet) -> None:
    have_v2_migrate_again(fleet)
    place, before = f"/webapps/{DOMAIN}/DB_backups", serving()
    dumps = fleet.hosts("web")[0]
    on(dumps, "mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place)
    try:
        with users(fleet, "full_dump") as seen:
            run = fleet.run(*DEPLOY_V2, "-e", "sandbox_banner=full_dump")
    finally:
        on(dumps, "umount", place)
    assert_failed(run, f"{place} has", "free, and the dump may take")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert not migrated()
    assert_whole(fleet)


def test_a_clock_that_is_an_hour_ahead_on_one_host_is_no_obstacle_nor_is_its_correction(fleet: Fleet) -> None:
    on(
        "web-1",
        "sh",
        "-c",
        "apt-get install --quiet --yes --no-install-recommends libfaketime && echo +3600 > /etc/faketimerc",
    )
    try:
        on("web-1", "sh", "-c", f"echo {FAKETIME} > /etc/ld.so.preload")
        assert abs(float(on("web-1", "date", "+%s")) - float(on("web-2", "date", "+%s"))) > 3000
        with users(fleet, "clock") as seen:
            fleet.deploy("v1")
            fleet.deploy("v2")
    finally:
        on("web-1", "rm", "/etc/ld.so.preload")
    assert seen.summary["failures"] == []
    with users(fleet, "clock_corrected") as seen:
        fleet.deploy("v2", "-e", "sandbox_banner=corrected")
    assert seen.summary["failures"] == []
    assert_whole(fleet)


def test_a_stopped_supervisor_of_the_worker_host_ends_the_roll_with_its_name(fleet: Fleet) -> None:
    before = serving()
    on("worker-1", "systemctl", "stop", "supervisor")
    try:
        with users(fleet, "supervisor") as seen:
            run = fleet.run(*DEPLOY_V2, "-e", "sandbox_banner=unsupervised")
    finally:
        on("worker-1", "systemctl", "start", "supervisor")
    assert_failed(run, "worker-1", "supervisor")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)


def test_a_configuration_of_nginx_that_was_broken_by_hand_does_not_touch_a_deploy(fleet: Fleet) -> None:
    broken = "/etc/nginx/conf.d/broken.conf"
    on("web-1", "sh", "-c", f"echo 'no such directive;' > {broken}")
    try:
        with users(fleet, "nginx") as seen:
            fleet.deploy("v2", "-e", "sandbox_banner=nginx")
    finally:
        on("web-1", "rm", broken)
    assert seen.summary["failures"] == []
    assert_whole(fleet)
