"""The database, Redis or AWS is away, refuses or is slow: the run ends with the cause, or bears it."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack

from sandbox.faults import (
    DEPLOY_V2,
    PUBLISH,
    assert_failed,
    assert_whole,
    disturbed,
    have_v2_migrate_again,
    migrated,
    serving,
    sql,
    users,
)
from sandbox.fleet import BALANCER, Fleet
from sandbox.proof import on, trouble
from sandbox.site import Site

HOSTS = ("web-1", "web-2")


def test_a_database_that_only_reads_keeps_the_fleet_as_it_was(fleet: Fleet) -> None:
    have_v2_migrate_again(fleet)
    before = serving()
    # Without users: what they write cannot be kept by anybody.
    sql("ALTER DATABASE amy SET default_transaction_read_only = on", database="postgres")
    try:
        run = fleet.run(*DEPLOY_V2)
    finally:
        sql("ALTER DATABASE amy RESET default_transaction_read_only", database="postgres")
    assert_failed(run, "The database is read-only")
    assert serving() == before
    assert not migrated()
    assert_whole(fleet)


def test_a_migration_that_gets_no_lock_gives_up_and_leaves_the_fleet_as_it_was(fleet: Fleet) -> None:
    have_v2_migrate_again(fleet)
    before = serving()
    # Readers and writers go on; a change of the table waits.
    holder = subprocess.Popen(
        ["docker", "exec", "webapps-db-1", "runuser", "--user", "postgres", "--", "psql", "-X", "--dbname=amy",
         "--command=BEGIN; LOCK TABLE notes_note IN ACCESS SHARE MODE; SELECT pg_sleep(600)"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    limits = {"deploy_version": "v2", "app_release_lock_timeout": 1, "app_release_migrate_attempts": 2}
    try:
        with users(fleet, "locked") as seen:
            run = fleet.run("playbooks/deploy.yml", "-e", json.dumps(limits))
    finally:
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        holder.wait(30)
    assert_failed(run, "lock")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert not migrated()
    assert_whole(fleet)


def test_a_target_that_never_gets_healthy_ends_the_roll_and_the_other_host_goes_on_serving(
    fleet: Fleet, site: Site
) -> None:
    def cut(_group: int) -> None:
        # The balancer does not reach the host any more, which has left it by then; whoever deploys does.
        on("web-1", "ip", "route", "add", "blackhole", f"{BALANCER}/32")

    before = serving()
    given = {"deploy_version": "v2", "sandbox_banner": "unhealthy", "load_balancer_timeout": 20}
    try:
        with users(fleet, "unhealthy") as seen:
            run = disturbed(fleet, PUBLISH, cut, "playbooks/deploy.yml", "-e", json.dumps(given))
    finally:
        on("web-1", "ip", "route", "del", "blackhole", f"{BALANCER}/32")
    assert_failed(run, "web-1", "Target.Timeout")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)
    # The host closed the connections that the balancer had kept to it, and could not say so: who asks next finds out.
    for _twice_for_each in HOSTS * 2:
        site.get("/")


def test_aws_that_throttles_errs_and_is_slow_for_a_while_is_borne(fleet: Fleet) -> None:
    bad_day = {
        "DeregisterTargets": {"code": "Throttling", "calls": 3},
        "RegisterTargets": {"code": "InternalFailure", "calls": 3},
        "DescribeTargetHealth": {"code": "ServiceUnavailable", "calls": 4, "after": 6, "delay": 2.0},
    }
    with ExitStack() as stack, users(fleet, "aws_bad_day") as seen:
        asked = {action: stack.enter_context(trouble(action, **how)) for action, how in bad_day.items()}
        fleet.deploy("v2", "-e", "sandbox_banner=bad_day")
        counted = {action: count() for action, count in asked.items()}
    assert seen.summary["failures"] == []
    assert counted["DeregisterTargets"] >= 2 + 3
    assert counted["RegisterTargets"] >= 2 + 3
    assert_whole(fleet)


def test_a_host_that_has_left_comes_back_although_aws_refuses_what_follows(fleet: Fleet) -> None:
    before = serving()
    with users(fleet, "aws_denied") as seen, trouble("DescribeTargetHealth", code="AccessDenied", after=8):
        run = fleet.run(*DEPLOY_V2, "-e", "sandbox_banner=denied")
    assert_failed(run, "elasticloadbalancing:DescribeTargetHealth")
    assert seen.summary["failures"] == []
    assert serving() == before
    assert_whole(fleet)
