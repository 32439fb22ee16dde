"""One scheduler, never two, also while it is replaced and when its successor cannot start.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json
from typing import Any

from testinfra.host import Host

from sandbox.scenario import ROOT, application, pids, publish, published, running, staged, wait_until

SCHEDULERS = """
import json
from django_rq import get_connection, get_queue
from rq_scheduler import Scheduler
connection = get_connection("default")
keys = list(connection.scan_iter(Scheduler.redis_scheduler_namespace_prefix + "*"))
print(json.dumps({
    "alive": [key.decode().rpartition(":")[2] for key in keys if not connection.hexists(key, "death")],
    "queued": get_queue("default").job_ids,
}))
"""


def schedulers(host: Host) -> dict[str, Any]:
    """Who is alive by Redis's account, and what they enqueued: nobody works here."""
    found: dict[str, Any] = json.loads(application(host, SCHEDULERS))
    return found


def forget_queued(host: Host) -> None:
    application(host, "import django_rq\ndjango_rq.get_queue('default').connection.delete('rq:queue:default')")


def assert_one_works(host: Host, version: str) -> None:
    """Exactly one runs, it is the release's, and it enqueues what is due."""
    (row,) = running(host)
    assert (row["state"], row["release"], row["proven"]) == ("RUNNING", staged(version), True)
    assert len(pids(host)) == 1
    assert len(schedulers(host)["alive"]) == 1
    forget_queued(host)
    wait_until(lambda: "heartbeat" in schedulers(host)["queued"], "the scheduler enqueues nothing")


def test_one_scheduler_enqueues_what_is_due(host: Host) -> None:
    assert_one_works(host, "v1")
    assert host.file(f"{ROOT}/repo").linked_to == f"{ROOT}/releases/{staged('v1')}"


def test_check_mode_foresees_the_publish_and_does_nothing_of_it(host: Host) -> None:
    before = pids(host)
    foreseen = publish("v2", "--check")
    assert (foreseen.code, foreseen.changed) == (0, True)
    assert pids(host) == before


def test_publishing_the_same_changes_and_restarts_nothing(host: Host) -> None:
    before = pids(host)
    assert not published("v1").changed
    assert pids(host) == before


def test_a_publish_replaces_it_and_there_is_one_again(host: Host) -> None:
    before, names = pids(host), schedulers(host)["alive"]
    assert published("v2").changed
    assert not set(pids(host)) & set(before)
    assert not set(schedulers(host)["alive"]) & set(names)
    assert_one_works(host, "v2")


def test_the_old_one_is_started_again_if_the_new_one_cannot_start(host: Host) -> None:
    result = publish("v1", rqscheduler_command=".venv/bin/python manage.py no_such_command")
    assert result.code != 0
    said = " ".join(result.output.split())
    assert "no_such_command" in said
    assert f"Generation {staged('v2')}-" in said
    assert "was started again and is proven" in said
    assert_one_works(host, "v2")
    assert not published("v2").changed


def test_the_old_one_is_started_again_if_the_new_one_does_not_register(host: Host) -> None:
    result = publish("v1", rqscheduler_command="/usr/bin/sleep 1000", rqscheduler_proof_timeout=15)
    assert result.code != 0
    said = " ".join(result.output.split())
    assert "0 schedulers are registered in Redis, wanted is one" in said
    assert "was started again and is proven" in said
    assert_one_works(host, "v2")


def test_a_second_scheduler_elsewhere_is_noticed(host: Host) -> None:
    """Somebody started one by hand: the publish must not call that fine."""
    launch = f"webapps-run {ROOT}/environment .venv/bin/python manage.py rqscheduler --interval 1"
    host.check_output(f"systemd-run --unit=second --uid=amy --working-directory={ROOT}/repo {launch}")
    wait_until(lambda: len(schedulers(host)["alive"]) == 2, "the second scheduler did not start")
    result = publish("v1", rqscheduler_proof_timeout=30)
    host.check_output("systemctl stop second")
    assert result.code != 0
    assert "2 schedulers are registered in Redis, wanted is one" in " ".join(result.output.split())


def test_it_comes_back_when_supervisor_is_restarted(host: Host) -> None:
    published("v2")
    before = pids(host)
    host.check_output("systemctl restart supervisor")
    wait_until(lambda: running(host)[0]["state"] == "RUNNING", "the scheduler did not come back")
    assert not set(pids(host)) & set(before)
    wait_until(lambda: len(schedulers(host)["alive"]) == 1, "there is not one scheduler")
    assert_one_works(host, "v2")


def test_after_a_killed_scheduler_there_is_one_again(host: Host) -> None:
    """It leaves its registration behind, for the interval and ten seconds."""
    (before,) = pids(host)
    host.check_output(f"kill -KILL {before}")
    wait_until(lambda: pids(host) not in ([], [before]), "supervisor did not start it again")
    wait_until(lambda: len(schedulers(host)["alive"]) == 1, "there is not one scheduler")
    wait_until(lambda: running(host)[0]["state"] == "RUNNING", "it does not stay up")
    assert_one_works(host, "v2")


def test_one_that_works_on_after_an_outage_of_redis_and_is_registered_no_more_is_started_anew(host: Host) -> None:
    before = pids(host)
    application(
        host,
        "from rq_scheduler import Scheduler\nfrom django_rq import get_connection\nc = get_connection('default')\n"
        "c.delete(*c.scan_iter(Scheduler.redis_scheduler_namespace_prefix + '*'))",
    )
    foreseen = publish("v2", "--check")
    assert (foreseen.code, foreseen.changed) == (0, True)
    assert pids(host) == before
    published("v2")
    assert pids(host) != before
    assert_one_works(host, "v2")


def test_a_stopped_scheduler_enqueues_nothing_until_it_is_published_again(host: Host) -> None:
    published("v2", scenario_entry="stop")
    assert (running(host), schedulers(host)["alive"]) == ([], [])
    assert not published("v2", scenario_entry="stop").changed
    result = publish("v2", scenario_entry="prove", rqscheduler_proof_timeout=5)
    assert result.code != 0
    assert "0 schedulers are registered in Redis, wanted is one" in " ".join(result.output.split())
    published("v2")
    assert not published("v2", scenario_entry="prove").changed
    assert_one_works(host, "v2")


def test_plain_rq_scheduler_is_proven_as_well(host: Host) -> None:
    plain = {
        "rqscheduler_command": ".venv/bin/rqscheduler --interval 1",
        "rqscheduler_shell_command": [".venv/bin/python", "-"],
        "rqscheduler_redis_url_variable": "RQ_REDIS_URL",
    }
    assert published("v2", **plain).changed
    assert len(schedulers(host)["alive"]) == 1
    assert not published("v2", scenario_entry="prove", **plain).changed
