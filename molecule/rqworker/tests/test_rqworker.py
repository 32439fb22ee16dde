"""What becomes of jobs while their workers are replaced.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json
from typing import Any

from testinfra.host import Host

from sandbox.scenario import ROOT, application, pids, publish, published, running, staged, wait_until

LONG_JOB_SECONDS = 30


def enqueue(host: Host, seconds: float) -> int:
    """Have the application store and enqueue a job; returns its number."""
    program = f"""
from notes.jobs import enqueue
from notes.models import Job
job = Job.objects.create(seconds={seconds})
enqueue(job)
print(job.pk)
"""
    return int(application(host, program))


def job(host: Host, number: int) -> dict[str, Any]:
    program = f"""
import json
from notes.models import Job
job = Job.objects.get(pk={number})
print(json.dumps({{"state": job.state, "runs": job.runs, "release": job.release}}))
"""
    found: dict[str, Any] = json.loads(application(host, program))
    return found


def registered(host: Host) -> set[int]:
    """The processes of the workers that are registered in Redis."""
    program = """
from django_rq import get_connection
from rq import Worker
print(*[worker.pid for worker in Worker.all(connection=get_connection("default"))])
"""
    return {int(pid) for pid in application(host, program).split()}


def finished_once(release: str) -> dict[str, Any]:
    return {"state": "finished", "runs": 1, "release": release}


def test_as_many_workers_as_wanted_are_registered(host: Host) -> None:
    (row,) = running(host)
    assert (row["state"], row["release"], row["proven"]) == ("RUNNING", staged("v1"), True)
    assert len(pids(host)) == 2
    assert registered(host) == set(pids(host))


def test_jobs_run_once_in_the_release(host: Host) -> None:
    number = enqueue(host, 0)
    wait_until(lambda: job(host, number) == finished_once(staged("v1")), "the job did not run")


def test_the_links_follow_the_workers(host: Host) -> None:
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


def test_workers_that_do_not_register_are_refused_and_the_old_ones_go_on(host: Host) -> None:
    """A process that stays up is not enough: these run, but listen to nothing."""
    before = pids(host)
    result = publish("v2", rqworker_command="/usr/bin/sleep 1000", rqworker_proof_timeout=10)
    assert result.code != 0
    said = " ".join(result.output.split())
    assert "0 of 2 workers of rqworker-" in said
    assert "was not touched and goes on" in said
    assert pids(host) == before
    assert registered(host) == set(before)


def test_a_job_under_way_is_finished_once_by_the_worker_that_began_it(host: Host) -> None:
    old = set(pids(host))
    long = enqueue(host, LONG_JOB_SECONDS)
    wait_until(lambda: job(host, long)["state"] == "started", "the long job did not start")

    assert published("v2", rqworker_retire_timeout=1).changed
    assert job(host, long)["state"] == "started", "the publish waited for the job, so this shows nothing"
    assert {row["release"] for row in running(host) if row["retiring"]} == {staged("v1")}
    new = {
        pid for row in running(host) if not row["retiring"] for process in row["processes"] if (pid := process["pid"])
    }
    assert len(new) == 2
    # Its one child is the job; the other old worker was idle and has left.
    assert len(old & set(pids(host))) == 1

    short = enqueue(host, 0)
    wait_until(lambda: job(host, short) == finished_once(staged("v2")), "no new worker took the job")

    wait_until(lambda: not old & set(pids(host)), "the old worker stayed after its job")
    assert job(host, long) == finished_once(staged("v1"))
    assert registered(host) == new


def test_the_next_publish_removes_what_is_left_of_the_old_workers(host: Host) -> None:
    before = pids(host)
    assert published("v2").changed
    (row,) = running(host)
    assert row["release"] == staged("v2")
    assert pids(host) == before
    assert not published("v2").changed


def test_they_come_back_when_supervisor_is_restarted(host: Host) -> None:
    before = set(pids(host))
    host.check_output("systemctl restart supervisor")
    wait_until(lambda: running(host)[0]["state"] == "RUNNING", "the workers did not come back")
    new = set(pids(host))
    assert not new & before
    wait_until(lambda: registered(host) == new, "the workers have not registered again")
    number = enqueue(host, 0)
    wait_until(lambda: job(host, number) == finished_once(staged("v2")), "the job did not run")


def test_stopped_workers_have_finished_their_jobs_and_take_no_other(host: Host) -> None:
    long = enqueue(host, LONG_JOB_SECONDS)
    wait_until(lambda: job(host, long)["state"] == "started", "the long job did not start")
    hurried = publish("v2", scenario_entry="stop", rqworker_stop_timeout=2)
    assert hurried.code != 0
    assert "Work is still under way after 2 s: rqworker-" in " ".join(hurried.output.split())
    waiting = enqueue(host, 0)

    assert publish("v2", scenario_entry="stop").code == 0
    assert job(host, long) == finished_once(staged("v2"))
    assert running(host) == []
    assert registered(host) == set()
    assert not published("v2", scenario_entry="stop").changed
    assert job(host, waiting)["state"] == "queued"

    published("v2")
    wait_until(lambda: job(host, waiting) == finished_once(staged("v2")), "the job that waited did not run")


def test_a_job_that_lost_its_worker_is_waited_for(host: Host) -> None:
    """Somebody killed the worker; the process of its job works on, and supervisor does not know it."""
    long = enqueue(host, LONG_JOB_SECONDS)
    wait_until(lambda: job(host, long)["state"] == "started", "the long job did not start")
    # The one with a child.
    (worker,) = {int(pid) for pid in host.check_output("ps -e -o ppid").split()[1:]} & set(pids(host))
    host.check_output(f"kill -KILL {worker}")
    wait_until(lambda: worker not in pids(host) and len(pids(host)) == 2, "supervisor did not start another")

    published("v2", scenario_entry="stop")
    found = job(host, long)
    assert (found["state"], found["runs"]) == ("finished", 1)


POOLS = [
    {"name": "mail", "queues": ["mail", "news"], "command": ".venv/bin/rq worker {queues}"},
    {"name": "general", "queues": ["default"], "processes": 2},
]
# Without a queue of that name in Django's settings, RQ itself has to be asked.
PLAIN = {"rqworker_shell_command": [".venv/bin/python", "-"], "rqworker_redis_url_variable": "RQ_REDIS_URL"}

PLAIN_JOB = """
import os
from redis import Redis
from rq import Queue
from rq.job import Job
redis = Redis.from_url(os.environ["RQ_REDIS_URL"])
"""


def enqueue_plain(host: Host, queue: str, seconds: int) -> str:
    """Enqueue a job that needs nothing of Django."""
    program = f"print(Queue('{queue}', connection=redis).enqueue('time.sleep', {seconds}).id)"
    return application(host, PLAIN_JOB + program).strip()


def plain_state(host: Host, number: str) -> str:
    return application(host, PLAIN_JOB + f"print(Job.fetch('{number}', connection=redis).get_status().value)").strip()


def test_pools_work_on_queues_of_their_own_with_commands_of_their_own(host: Host) -> None:
    published("v2", rqworker_pools=POOLS, **PLAIN)
    rows = {row["program"]: row for row in running(host)}
    assert {name: len(row["processes"]) for name, row in rows.items()} == {"rqworker_mail": 1, "rqworker_general": 2}
    # The one that was killed before stays registered for a while.
    assert registered(host) >= set(pids(host))
    plain, number = enqueue_plain(host, "news", 0), enqueue(host, 0)
    wait_until(lambda: plain_state(host, plain) == "finished", "plain rq did not run the job")
    wait_until(lambda: job(host, number) == finished_once(staged("v2")), "the other pool did not run its job")
    assert not published("v2", rqworker_pools=POOLS, **PLAIN).changed


def test_another_number_of_processes_replaces_that_pool_alone(host: Host) -> None:
    before = {row["program"]: row["generation"] for row in running(host)}
    published("v2", rqworker_pools=[POOLS[0], {**POOLS[1], "processes": 1}], **PLAIN)
    after = {row["program"]: row["generation"] for row in running(host) if not row["retiring"]}
    assert after["rqworker_mail"] == before["rqworker_mail"]
    assert after["rqworker_general"] != before["rqworker_general"]


def test_a_pool_that_is_no_longer_wanted_finishes_its_job_and_is_gone(host: Host) -> None:
    plain = enqueue_plain(host, "mail", LONG_JOB_SECONDS)
    wait_until(lambda: plain_state(host, plain) == "started", "the job did not start")
    published("v2", rqworker_pools=POOLS[1:], **PLAIN)
    assert plain_state(host, plain) == "finished"
    assert {row["program"] for row in running(host)} == {"rqworker_general"}


def test_a_host_may_go_back_to_one_pool(host: Host) -> None:
    published("v2")
    assert {row["program"] for row in running(host)} == {"rqworker"}
    assert len(pids(host)) == 2


def test_two_pools_of_one_name_are_refused(host: Host) -> None:
    result = publish("v2", rqworker_pools=[POOLS[0], POOLS[0]])
    assert "rqworker_pools has the names mail, mail" in " ".join(result.output.split())
