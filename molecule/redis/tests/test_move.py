"""Jobs move from the shared Redis, with its user's rights, to the service with TLS, whatever interrupts the move."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "throwaway0123456789"
PLAYBOOK = Path(__file__).parent.parent / "entry.yml"
KILLER = Path(__file__).parent / "kill_the_mover.py"
JOBS = 3000
DATABASE = 3


def address(machine: str) -> str:
    command = ["docker", "exec", machine, "hostname", "--all-ip-addresses"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


def old(*words: str, stdin: str | None = None) -> str:
    return cli("webapps-redis", [], words, stdin)


def new(*words: str) -> str:
    return cli(
        "webapps-redis-service",
        ["--tls", "--cacert", "/etc/redis/ca.pem", "-h", address("webapps-redis-service")],
        words,
    )


def cli(machine: str, options: list[str], words: tuple[str, ...], stdin: str | None = None) -> str:
    command = ["docker", "exec", "--interactive", f"--env=REDISCLI_AUTH={PASSWORD}", machine, "redis-cli", *options]
    command += ["--user", "webapps", "-n", str(DATABASE), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=stdin).stdout.strip()


def mover(entry: str = "move", **variables: Any) -> list[str]:
    """The command that has the client's machine, which reaches both, move."""
    given = {
        "entry": entry,
        "redis_move_source": f"redis://webapps:{PASSWORD}@{address('webapps-redis')}:6379/{DATABASE}",
        "redis_move_target": f"rediss://webapps:{PASSWORD}@{address('webapps-redis-service')}:6379/{DATABASE}",
        "redis_ca_file": "/etc/ssl/redis-ca.pem",
        "redis_move_timeout": 5,
        **variables,
    }
    return [
        "ansible-playbook",
        f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
        f"--extra-vars={json.dumps(given)}",
        "-vvv",
        "--diff",
        str(PLAYBOOK),
    ]


def move(entry: str = "move", **variables: Any) -> tuple[int, str]:
    done = subprocess.run(mover(entry, **variables), capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert PASSWORD not in said
    return done.returncode, " ".join(said.split())


def fill() -> None:
    """Jobs that wait, and as many that are scheduled ahead."""
    lines = []
    for number in range(JOBS):
        lines.append(f"HSET rq:job:{number} data {number} status queued")
        lines.append(f"RPUSH rq:queue:default {number}")
        lines.append(f"ZADD rq:scheduler:scheduled_jobs {1_900_000_000 + number} later-{number}")
    old(stdin="\n".join([*lines, "SADD rq:queues rq:queue:default", "SET cache:page x", "HSET rq:worker:1 birth now"]))


@pytest.fixture(scope="module", autouse=True)
def filled() -> None:
    # What an earlier run left; nobody may flush here.
    new("FLUSHDB")
    old(stdin="\n".join(f"DEL {key}" for key in old("SCAN", "0", "COUNT", "99999").split()[1:]))
    fill()


def killed_at(keys: int) -> bool:
    """Whether a move was killed, with SIGKILL, as soon as the target held so many keys."""
    # `timeout` ends it where nothing was killed.
    command = ["docker", "exec", "--interactive", "webapps-redis-client", "timeout", "300", "python3", "-c"]
    arguments = [
        KILLER.read_text(),
        address("webapps-redis-service"),
        "/etc/ssl/redis-ca.pem",
        str(DATABASE),
        str(keys),
    ]
    with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:
        assert killer.stdin
        assert killer.stdout
        print(PASSWORD, file=killer.stdin, flush=True)
        assert killer.stdout.readline() == "watching\n"
        code = subprocess.run(mover(), capture_output=True, check=False).returncode
        killer.terminate()
        return code != 0 and killer.stdout.readline() == "killed\n"


def test_a_target_with_foreign_jobs_is_refused() -> None:
    new("HSET", "rq:job:foreign", "data", "1")
    code, said = move("move_check")
    assert code != 0
    assert "holds 1 keys already (rq:job:foreign), which no move from redis://" in said
    assert "-e redis_move_merge=true" in said
    new("DEL", "rq:job:foreign")


def test_a_move_is_foreseen_in_check_mode() -> None:
    done = subprocess.run([*mover(), "--check"], capture_output=True, text=True, check=True)
    assert f"keys: {JOBS + 3}" in done.stdout
    assert old("LLEN", "rq:queue:default") == str(JOBS)
    assert new("DBSIZE") == "0"


def test_a_program_that_still_uses_the_old_one_is_named_and_nothing_is_moved() -> None:
    command = ["docker", "exec", f"--env=REDISCLI_AUTH={PASSWORD}", "webapps-redis", "redis-cli", "--user", "webapps"]
    user = subprocess.Popen([*command, "-n", str(DATABASE), "BLPOP", "nothing", "0"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        code, said = move(redis_move_timeout=2)
    finally:
        old("LPUSH", "nothing", "go")
        user.wait(timeout=20)
    assert code != 0
    assert "is still in use, after 2 s: 127.0.0.1:" in said
    assert "(last command blpop)" in said
    assert new("DBSIZE") == "0"


def test_killed_at_any_moment_and_run_again_nothing_is_lost_and_nothing_is_doubled() -> None:
    assert move("move_begin")[0] == 0
    # A web process enqueues on the new one already.
    new("RPUSH", "rq:queue:default", "newest")
    # The note and the newest job are there before.
    assert [killed_at(moved + 3) for moved in (0, 400, 1000, 1800, 2600)] == [True] * 5
    for entry in ("move", "move_rest"):
        code, said = move(entry)
        assert code == 0, said
    assert new("LRANGE", "rq:queue:default", "0", "-1").split() == [*map(str, range(JOBS)), "newest"]
    assert new("ZRANGE", "rq:scheduler:scheduled_jobs", "0", "-1").split() == [f"later-{n}" for n in range(JOBS)]
    assert new("ZSCORE", "rq:scheduler:scheduled_jobs", "later-7") == "1900000007"
    assert new("HGETALL", f"rq:job:{JOBS - 1}").split() == ["data", str(JOBS - 1), "status", "queued"]
    # The jobs, the queue, the schedule, the set of queues; nothing of the move itself.
    assert new("DBSIZE") == str(JOBS + 3)
    assert sorted(old("SCAN", "0", "COUNT", "9999").split()[1:]) == ["cache:page", "rq:worker:1"]


def test_moving_again_changes_nothing() -> None:
    code, said = move()
    assert code == 0
    assert "keys: 0" in said
    assert "changed=0" in said
