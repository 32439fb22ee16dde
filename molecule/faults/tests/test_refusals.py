"""What is refused before anything changes, and what is told of a lock; the scenario rolling runs these too."""

from __future__ import annotations

import json

from sandbox.faults import DEPLOY_V2, DEPLOYS, assert_failed, assert_whole, history, said, serving, users, web
from sandbox.fleet import Fleet
from sandbox.proof import CallJournal, HostTrees, on, trouble


def test_nothing_is_deployed_while_deploys_are_frozen(fleet: Fleet) -> None:
    fleet.must("playbooks/lock.yml", "-e", '{"lock_reason": "workshop week"}')
    with users(fleet, "frozen") as seen:
        run = fleet.run(*DEPLOY_V2)
    fleet.must("playbooks/unlock.yml")
    assert_failed(run, "workshop week")
    assert seen.summary["failures"] == []


def test_a_torn_lock_is_moved_aside_and_told(fleet: Fleet) -> None:
    on("worker-1", "sh", "-c", f"printf '{{\"owner\"' > {DEPLOYS}/lock.json")
    with users(fleet, "torn") as seen:
        run = fleet.deploy("v2")
    assert f"{DEPLOYS}/lock.json" in said(run)
    assert seen.summary["failures"] == []


def test_a_lock_that_somebody_elsewhere_left_is_taken_over_once_it_is_stale(fleet: Fleet) -> None:
    then = "2026-11-01T10:10:10.000Z"
    held = {
        "owner": "maria@laptop", "run": "r0123456789ab", "controller": "laptop", "pid": 77, "started": "1",
        "version": "v1", "reason": "deploy", "acquired_at": then, "heartbeat": then, "expiry": 10**9,
    }  # fmt: skip
    path = f"{DEPLOYS}/lock.json"
    on("worker-1", "sh", "-c", f"echo '{json.dumps(held)}' > {path}")
    with users(fleet, "stale") as seen:
        refused = fleet.run(*DEPLOY_V2)
        on("worker-1", "sh", "-c", f"echo '{json.dumps(held | {'expiry': 3600})}' > {path}")
        taken = fleet.deploy("v2")
    assert_failed(refused, "maria@laptop", "unlock_run=r0123456789ab")
    assert "maria@laptop" in said(taken)
    assert seen.summary["failures"] == []
    assert (history()[-2]["who"], history()[-2]["result"]) == ("maria@laptop", "killed")


def test_a_database_that_is_down_is_told_before_anything_is_published(fleet: Fleet) -> None:
    before = serving()
    # Without users: what they ask for cannot be answered by anybody.
    on("db-1", "systemctl", "stop", "postgresql")
    try:
        run = fleet.run(*DEPLOY_V2)
    finally:
        on("db-1", "systemctl", "start", "postgresql")
    assert_failed(run, "10.77.1.31", "Connection refused")
    assert "Traceback" not in run.output
    assert serving() == before


def test_a_right_that_is_missing_is_told_before_anything_changes(fleet: Fleet) -> None:
    trees, calls = HostTrees.now(tuple(web())), CallJournal.now()
    with users(fleet, "right") as seen, trouble("DescribeTargetGroups", code="AccessDenied"):
        run = fleet.run(*DEPLOY_V2, "-e", "sandbox_banner=right")
    assert_failed(run, "elasticloadbalancing:DescribeTargetGroups", "Allow")
    assert seen.summary["failures"] == []
    assert HostTrees.now(tuple(web())).differences(trees) == []
    assert calls.writes_since() == []


def test_redis_that_is_down_is_told_before_anything_changes_and_the_next_plain_deploy_converges(fleet: Fleet) -> None:
    before = HostTrees.now(tuple(web()))
    on("worker-1", "systemctl", "stop", "redis-server")
    try:
        with users(fleet, "redis") as seen:
            run = fleet.run(*DEPLOY_V2)
    finally:
        on("worker-1", "systemctl", "start", "redis-server")
    assert_failed(run, "Redis", "10.77.1.21")
    assert seen.summary["failures"] == []
    assert HostTrees.now(tuple(web())).differences(before) == []
    assert_whole(fleet)
