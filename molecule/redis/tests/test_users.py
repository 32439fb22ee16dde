"""What the users of a shared Redis may do."""

from __future__ import annotations

import pytest
from testinfra.host import Host

PASSWORD = "throwaway0123456789"
CLI = f"REDISCLI_AUTH={PASSWORD} redis-cli --user webapps"

testinfra_hosts = ["webapps-redis"]


def answer(host: Host, command: str, cli: str = CLI) -> str:
    return str(host.run(f"{cli} {command} 2>&1").stdout.strip())


def test_whoever_can_reach_it_over_the_network_needs_a_password(host: Host) -> None:
    address = host.check_output("hostname --all-ip-addresses").split()[0]
    assert "NOAUTH" in answer(host, "get jobs", f"redis-cli -h {address}")
    assert "NOAUTH" in answer(host, "get jobs", "redis-cli")


@pytest.mark.parametrize("password", [PASSWORD, "before0123456789", "second-to-last"])
def test_the_default_user_is_off_whatever_the_password(host: Host, password: str) -> None:
    assert "WRONGPASS" in answer(host, f"auth {password}", "redis-cli")


def test_a_former_password_still_opens_and_a_wrong_one_does_not(host: Host) -> None:
    assert answer(host, "auth webapps second-to-last", "redis-cli") == "OK"
    assert "WRONGPASS" in answer(host, "auth webapps before0123456789", "redis-cli")


@pytest.mark.parametrize(
    "command",
    [
        "flushall",
        "flushdb",
        "config get '*'",
        "config set dir /tmp",
        "keys '*'",
        "shutdown",
        "acl list",
        "acl setuser webapps +@all",
        "client kill type normal",
        "replicaof 10.0.0.1 6379",
        "script flush",
        "function flush",
        "module list",
        "monitor",
        "swapdb 0 1",
        "bgrewriteaof",
    ],
)
def test_nothing_that_administers_redis_is_allowed(host: Host, command: str) -> None:
    assert "NOPERM" in answer(host, command)


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("hset rq:job:1 status queued", ""),
        ("zadd rq:scheduler:scheduled_jobs 1 1", ""),
        ("xadd rq:results:1 '*' a b", "-"),
        ("eval 'return redis.call(\"get\", KEYS[1])' 1 nothing", ""),
        ("client setname worker", "OK"),
        ("client list", "id="),
        ("info server", "redis_version"),
        ("publish rq:pubsub:1 stop", "0"),
        ("select 2", "OK"),
        ("scan 0 match 'rq:*'", "rq:job:1"),
        ("setex cache:1 60 value", "OK"),
    ],
)
def test_what_rq_schedulers_and_caches_ask_for_is_allowed(host: Host, command: str, wanted: str) -> None:
    said = answer(host, command)
    assert "NOPERM" not in said
    assert wanted in said


def test_the_password_is_on_no_disk(host: Host) -> None:
    file = host.file("/etc/redis/webapps-users.conf")
    assert (file.user, file.group, file.mode) == ("root", "redis", 0o640)
    assert not host.file("/etc/redis/webapps-password.conf").exists
    assert PASSWORD not in host.check_output("ps -e -o args | grep --invert-match REDISCLI_AUTH")
    # The journal holds the commands of this test.
    assert (
        host.run(f"grep --recursive --files-with-matches --exclude-dir=journal {PASSWORD} /etc /var/log").stdout == ""
    )
