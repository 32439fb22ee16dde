"""There is one scheduler, before, during and after a publish.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

from testinfra.host import Host

from sandbox.scenario import application, pids, publish, published, running, staged

ALIVE = """
from django_rq import get_connection
connection = get_connection()
print(sum(not connection.hexists(key, "death") for key in connection.scan_iter("rq:scheduler_instance:*")))
"""


def test_one_scheduler_is_alive(host: Host) -> None:
    assert application(host, ALIVE) == "1"
    assert len(pids(host)) == 1


def test_publishing_the_same_changes_and_restarts_nothing(host: Host) -> None:
    before = pids(host)
    assert not published("v1").changed
    assert pids(host) == before


def test_check_mode_foresees_the_publish_and_does_nothing_of_it(host: Host) -> None:
    before = pids(host)
    foreseen = publish("v2", "--check", "--diff")
    assert (foreseen.code, foreseen.changed) == (0, True)
    assert pids(host) == before


def test_a_publish_replaces_it_by_one_of_the_new_release(host: Host) -> None:
    published("v2")
    (row,) = running(host)
    assert (row["release"], row["state"]) == (staged("v2"), "RUNNING")
    assert application(host, ALIVE) == "1"


def test_the_old_one_is_started_again_when_the_new_one_does_not_start(host: Host) -> None:
    refused = publish("v1", rqscheduler_command=".venv/bin/python nothing.py")
    assert refused.code != 0
    assert "nothing.py" in refused.output
    (row,) = running(host)
    assert (row["release"], row["state"]) == (staged("v2"), "RUNNING")
    assert application(host, ALIVE) == "1"
