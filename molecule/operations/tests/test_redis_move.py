"""The fleet's jobs move to a Redis on another host, and back, while users click and the controller is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.fleet import BESIDE_THE_FLEET, DOMAIN, ROOT, STATE, WEB_HOSTS, Fleet, Load, load
from sandbox.proof import on, processes, retagged
from sandbox.site import Site

OUT = ROOT / "out" / "test" / "operations"
OLD_ADDRESS, NEW_ADDRESS = "10.77.1.21", WEB_HOSTS["web-2"]
LONG_JOB_SECONDS = 20
# Scheduled ahead of the move: due once it is over.
AHEAD_SECONDS = 240
# Words of the playbook's output at which the controller is killed.
DEADLY = ("Stop the scheduler", "Roll web", "Take the jobs along")


def application(program: str) -> str:
    """What a Python program prints that runs inside the live release on the worker host, with its environment."""
    root = f"/webapps/{DOMAIN}"
    shell = f"webapps-run {root}/environment .venv/bin/python manage.py shell --verbosity 0"
    return on("worker-1", "sh", "-c", f"cd {root}/repo/ && runuser -u amy -- {shell} << 'END'\n{program}\nEND")


def schedule_ahead(seconds: int) -> str:
    """Store a job and schedule it; the path of its page."""
    number = application(f"""
from datetime import timedelta
import django_rq
from notes.jobs import run_job
from notes.models import Job
job = Job.objects.create(seconds=0)
django_rq.get_scheduler("default").enqueue_in(timedelta(seconds={seconds}), run_job, job.pk)
print(job.pk)
""")
    return f"/jobs/{int(number)}/"


def redis_keys(host: str, address: str) -> list[str]:
    """The names of jobs in a host's Redis."""
    password = (STATE / "secrets" / "redis").read_text().split(" ", 1)[0].strip()
    ask = ["redis-cli", "--user", "webapps", "-h", address, "--scan", "--pattern", "rq:job:*"]
    # Named alone, the variable comes from here: no command line has it.
    command = ["docker", "exec", "--env", "REDISCLI_AUTH", f"webapps-{host}", *ask]
    environment = {**os.environ, "REDISCLI_AUTH": password}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def variables(name: str, new: str, old: str) -> str:
    """The options that tell a playbook where Redis is and was; the password stays out of the command."""
    password = (STATE / "secrets" / "redis").read_text().split(" ", 1)[0].strip()
    path = STATE / f"{name}.json"
    path.touch(mode=0o600)
    given = {"sandbox_redis_address": new, "redis_move_source": f"redis://webapps:{password}@{old}:6379/"}
    path.write_text(json.dumps(given))
    return f"--extra-vars=@{path}"


def killed_at(fleet: Fleet, words: str, option: str) -> bool:
    """Run the move and kill the controller when its output shows some words; whether it got so far."""
    log = OUT / "logs" / "killed.log"
    command = [*BESIDE_THE_FLEET, "ansible-playbook", "playbooks/move_redis.yml", "-i", fleet.inventory, option]
    with log.open("w") as out:
        running = subprocess.Popen(
            command, cwd=ROOT, env=fleet.environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while running.poll() is None:
            if words in log.read_text():
                time.sleep(2)
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
                return True
            time.sleep(0.2)
    return False


@dataclass(frozen=True)
class Move:
    """What was seen while jobs moved."""

    users: Load
    killed: list[bool]
    output: str
    long: str
    queued: list[str]
    ahead: str


@pytest.fixture(scope="module")
def move(fleet: Fleet, site: Site) -> Iterator[Move]:
    there = variables("there", NEW_ADDRESS, OLD_ADDRESS)
    with retagged("web-2", Role="web,redis"), retagged("worker-1", Role="worker,scheduler,builder"):
        fleet.must("playbooks/site.yml", "--limit=web-2", there)
        ahead, long = schedule_ahead(AHEAD_SECONDS), site.enqueue(LONG_JOB_SECONDS)
        # They wait behind the long one, and move while they wait or have run before.
        queued = [site.enqueue(1) for _ in range(5)]
        with load(OUT / "redis_move", steady=5) as users, users.roll():
            killed = [killed_at(fleet, words, there) for words in DEADLY]
            while_moved = [site.enqueue(0) for _ in range(3)]
            done = fleet.must("playbooks/move_redis.yml", there)
        yield Move(users, killed, done.output, long, [*queued, *while_moved], ahead)
    fleet.must("playbooks/move_redis.yml", variables("back", OLD_ADDRESS, NEW_ADDRESS))
    on("web-2", "systemctl", "disable", "--now", "redis-server")


def test_no_request_fails_while_jobs_move_and_the_controller_is_killed(move: Move) -> None:
    assert move.killed == [True, True, True]
    assert move.users.summary["failures"] == []
    assert move.users.summary["requests"] > 0


def test_a_job_under_way_and_jobs_that_waited_ran_once(move: Move, site: Site) -> None:
    for path in [move.long, *move.queued]:
        job = site.finished_job(path, patience=120)
        assert (job["state"], job["runs"]) == ("finished", 1), path


def test_nothing_is_left_in_the_old_redis(move: Move) -> None:
    assert redis_keys("worker-1", OLD_ADDRESS) == []
    assert "rq:job:heartbeat" in redis_keys("web-2", NEW_ADDRESS)


def test_workers_and_one_scheduler_run_on_the_new_one(move: Move) -> None:
    assert len(processes("worker-1", "rqworker", "rqscheduler")) == 2
    said = application("""
import django_rq
from rq_scheduler import Scheduler
redis = django_rq.get_connection("default")
keys = list(redis.scan_iter(Scheduler.redis_scheduler_namespace_prefix + "*"))
print(redis.connection_pool.connection_kwargs["host"], sum(not redis.hexists(key, "death") for key in keys))
""")
    assert said.split() == [NEW_ADDRESS, "1"]


def test_moving_again_changes_nothing(move: Move, fleet: Fleet) -> None:
    again = fleet.must("playbooks/move_redis.yml", variables("there", NEW_ADDRESS, OLD_ADDRESS))
    assert set(re.findall(r"changed=(\d+)", again.output)) == {"0"}


def test_a_job_scheduled_ahead_runs_once_when_it_is_due(move: Move, site: Site) -> None:
    job = site.finished_job(move.ahead, patience=AHEAD_SECONDS + 90)
    assert (job["state"], job["runs"]) == ("finished", 1)


def test_no_output_holds_the_password(move: Move) -> None:
    password = (STATE / "secrets" / "redis").read_text().split(" ", 1)[0].strip()
    assert password not in move.output
    assert password not in Path(OUT / "logs" / "killed.log").read_text()
