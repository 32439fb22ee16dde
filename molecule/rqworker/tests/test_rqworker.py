"""What jobs notice of a publish.

The tests share one host and run in order: each takes it as the one before left it.
"""

from __future__ import annotations

import json

from testinfra.host import Host

from sandbox.scenario import application, pids, publish, published, running, staged, wait_until

JOB_SECONDS = 15


def enqueue(host: Host, seconds: float) -> int:
    program = (
        f"from notes.models import Job; from notes.jobs import enqueue; job = Job.objects.create(seconds={seconds})"
    )
    return int(application(host, f"{program}; enqueue(job); print(job.pk)"))


def job(host: Host, key: int) -> dict[str, object]:
    program = f"import json; from notes.models import Job; job = Job.objects.get(pk={key})"
    shown = application(host, f"{program}; print(json.dumps([job.state, job.runs, job.release]))")
    return dict(zip(("state", "runs", "release"), json.loads(shown), strict=True))


def test_as_many_workers_as_asked_for_have_registered(host: Host) -> None:
    program = "from django_rq import get_connection; from rq import Worker"
    assert application(host, f"{program}; print(len(Worker.all(connection=get_connection())))") == "2"
    assert len(pids(host)) == 2


def test_a_job_runs_once(host: Host) -> None:
    key = enqueue(host, 0.1)
    wait_until(lambda: job(host, key)["state"] == "finished", "the job did not finish")
    assert job(host, key) == {"state": "finished", "runs": 1, "release": staged("v1")}


def test_publishing_the_same_changes_and_restarts_nothing(host: Host) -> None:
    before = pids(host)
    assert not published("v1").changed
    assert pids(host) == before


def test_check_mode_foresees_the_publish_and_does_nothing_of_it(host: Host) -> None:
    before = pids(host)
    foreseen = publish("v2", "--check", "--diff")
    assert (foreseen.code, foreseen.changed) == (0, True)
    assert pids(host) == before


def test_a_job_under_way_is_finished_once_by_the_release_that_began_it(host: Host) -> None:
    key = enqueue(host, JOB_SECONDS)
    wait_until(lambda: job(host, key)["state"] == "started", "the job did not start")
    # Not waited for: the old worker finishes behind the publish.
    published("v2", rqworker_retire_timeout=0)
    wait_until(lambda: job(host, key)["state"] == "finished", "the job did not finish", JOB_SECONDS + 40)
    assert job(host, key) == {"state": "finished", "runs": 1, "release": staged("v1")}


def test_the_next_publish_removes_what_has_finished(host: Host) -> None:
    published("v2")
    (row,) = running(host)
    assert (row["release"], row["state"], row["retiring"]) == (staged("v2"), "RUNNING", False)
    key = enqueue(host, 0.1)
    wait_until(lambda: job(host, key)["state"] == "finished", "the job did not finish")
    assert job(host, key)["release"] == staged("v2")


def test_workers_that_do_not_start_are_refused_and_the_old_ones_go_on(host: Host) -> None:
    before = pids(host)
    refused = publish("v1", rqworker_command=".venv/bin/python nothing.py")
    assert refused.code != 0
    assert "nothing.py" in refused.output
    assert pids(host) == before
