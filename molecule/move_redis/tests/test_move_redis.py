"""The jobs of a running server move to another Redis, while it serves and the controller is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
from testinfra.host import Host

from sandbox.scenario import DOMAIN, application, pids, running, wait_until

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
PASSWORD = "throwaway0123456789"
# Words of the playbook's output at which the controller is killed.
DEADLY = ("Stop the scheduler", "Roll web", "Take the jobs along", "Workers | Start them")
LONG_JOB_SECONDS = 20
# Due when the first runs of the move are over.
AHEAD_SECONDS = 30

testinfra_hosts = ["webapps-move_redis"]


def address(machine: str) -> str:
    command = ["docker", "exec", machine, "hostname", "--all-ip-addresses"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


def mover() -> list[str]:
    target = f"redis://webapps:{PASSWORD}@{address('webapps-move_redis-target')}:6379/"
    variables = EPHEMERAL / "move.json"
    variables.write_text(json.dumps({"webapps_redis_url": target, "redis_move_source": "redis://127.0.0.1:6379/"}))
    return [
        "ansible-playbook",
        f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
        f"--extra-vars=@{PROJECT}/molecule/shared/vars.yml",
        f"--extra-vars=@{PROJECT}/molecule/move_redis/vars.yml",
        f"--extra-vars=@{variables}",
        str(PROJECT / "playbooks/move_redis.yml"),
    ]


def killed_at(words: str) -> bool:
    """Run the move and kill the controller when its output shows some words; whether it got so far."""
    log = EPHEMERAL / "killed.log"
    with log.open("w") as out:
        process = subprocess.Popen(mover(), stdout=out, stderr=out, start_new_session=True)
        while process.poll() is None:
            if words in log.read_text():
                time.sleep(2)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.1)
    return False


class Visitor(threading.Thread):
    """Asks for a page ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done, self.answers = threading.Event(), list[str]()

    def run(self) -> None:
        with httpx.Client(base_url=f"http://{address('webapps-move_redis')}", headers={"Host": DOMAIN}) as client:
            while not self.done.wait(0.1):
                try:
                    self.answers.append(str(client.get("/jobs/", timeout=30).status_code))
                except httpx.HTTPError as error:
                    self.answers.append(repr(error))


def enqueue(host: Host, seconds: float, ahead: int = 0) -> int:
    """Have the application store a job and enqueue it, or schedule it; returns its number."""
    program = f"""
from datetime import timedelta
import django_rq
from notes.jobs import enqueue, run_job
from notes.models import Job
job = Job.objects.create(seconds={seconds})
if {ahead}:
    django_rq.get_scheduler("default").enqueue_in(timedelta(seconds={ahead}), run_job, job.pk)
else:
    enqueue(job)
print(job.pk)
"""
    return int(application(host, program))


def jobs(host: Host) -> dict[int, tuple[str, int]]:
    """State and number of runs of every job."""
    program = """
import json
from notes.models import Job
print(json.dumps([[job.pk, job.state, job.runs] for job in Job.objects.all()]))
"""
    return {number: (state, runs) for number, state, runs in json.loads(application(host, program))}


def test_jobs_move_while_the_server_serves_and_the_controller_is_killed(host: Host) -> None:
    soon, late = enqueue(host, 0, AHEAD_SECONDS), enqueue(host, 0, 3600)
    long = enqueue(host, LONG_JOB_SECONDS)
    queued = [enqueue(host, 0) for _ in range(3)]
    visitor = Visitor()
    visitor.start()
    try:
        assert [killed_at(words) for words in DEADLY] == [True] * len(DEADLY)
        # As a scheduled command does that began before.
        host.check_output("redis-cli hset rq:job:late data late")
        assert killed_at("Take along what came late")
        queued.append(enqueue(host, 0))
        done = subprocess.run(mover(), capture_output=True, text=True, check=False)
    finally:
        visitor.done.set()
        visitor.join(60)
    assert done.returncode == 0, done.stdout
    assert PASSWORD not in done.stdout
    assert set(visitor.answers) == {"200"}

    wanted = dict.fromkeys([soon, long, *queued], ("finished", 1))
    wait_until(lambda: jobs(host) == {**wanted, late: ("queued", 0)}, f"jobs are {jobs(host)}", 60)


def test_nothing_is_left_behind_and_the_far_future_moved_too(host: Host) -> None:
    old = host.check_output("redis-cli --scan --pattern 'rq:job:*'")
    assert old == ""
    said = application(host, """
import django_rq
scheduler = django_rq.get_scheduler("default")
print(scheduler.connection.connection_pool.connection_kwargs["host"], len(list(scheduler.get_jobs())))
""")  # fmt: skip
    assert said.split() == [address("webapps-move_redis-target"), "2"]


def test_workers_scheduler_and_web_run_with_the_new_address(host: Host) -> None:
    assert {row["program"] for row in running(host)} == {"gunicorn", "rqworker", "rqscheduler"}
    for pid in pids(host):
        assert PASSWORD in host.check_output(f"cat /proc/{pid}/environ | tr '\\0' '\\n' | grep ^REDIS_URL=")


def test_moving_again_changes_nothing() -> None:
    again = subprocess.run(mover(), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}
