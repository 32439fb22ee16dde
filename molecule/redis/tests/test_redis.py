"""Who reaches Redis, what they may do there, and what it remembers."""

from __future__ import annotations

import os

import pytest
from testinfra import get_host
from testinfra.host import Host

PASSWORD = "throwaway0123456789"
SHARED, LOCAL, SERVICE, CLIENT = (f"webapps-redis{suffix}" for suffix in ("", "-local", "-service", "-client"))

pytestmark = pytest.mark.parametrize("host", [SHARED, LOCAL], indirect=True, ids=["shared", "local"])


def machine(name: str) -> Host:
    return get_host(
        f"ansible://{name}?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}&force_ansible=True&sudo=True"
    )


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Host:
    return machine(request.param)


@pytest.fixture
def local(host: Host) -> bool:
    return host.check_output("hostname") == LOCAL


@pytest.fixture
def address(host: Host) -> str:
    return host.check_output("hostname --all-ip-addresses").split()[0]


@pytest.fixture
def cli(local: bool) -> str:
    return "redis-cli" if local else f"REDISCLI_AUTH={PASSWORD} redis-cli --user webapps"


def test_it_runs_now_and_after_a_reboot(host: Host) -> None:
    assert host.service("redis-server").is_running, host.run("journalctl --unit redis-server").stdout
    assert host.service("redis-server").is_enabled


def test_it_answers_on_loopback_and_the_given_address_only(host: Host, local: bool, address: str, cli: str) -> None:
    assert host.check_output(f"{cli} ping") == "PONG"
    assert (host.run(f"{cli} -h {address} ping").stdout.strip() == "PONG") == (not local)
    listening = set(
        host.check_output("ss --no-header --listening --tcp --numeric 'sport = :6379' | awk '{print $4}'").split()
    )
    expected = {"127.0.0.1:6379", "[::1]:6379"} | (set() if local else {f"{address}:6379"})
    # Containers may have no IPv6.
    assert listening - {"[::1]:6379"} == expected - {"[::1]:6379"}


def test_other_hosts_reach_the_shared_one_only(host: Host, local: bool, address: str) -> None:
    script = f"import socket; print(socket.create_connection(('{address}', 6379), 3))"
    reached = machine(CLIENT).run(f'python3 -c "{script}"')
    assert (reached.rc == 0) == (not local)
    assert local == ("refused" in reached.stderr)


def test_jobs_survive_a_crash(host: Host, cli: str) -> None:
    host.check_output(f"{cli} set job 42")
    # Longer than appendfsync everysec leaves open.
    host.check_output("sleep 1.5 && systemctl kill --signal=KILL redis-server && sleep 1")
    host.check_output(f"for _ in $(seq 50); do {cli} ping 2>&1 | grep --quiet PONG && break; sleep 0.2; done")
    assert host.check_output(f"{cli} get job") == "42"


def test_what_an_adopted_redis_held_is_still_there(host: Host, cli: str) -> None:
    assert host.check_output(f"{cli} get adopted") == "yes"


def test_a_full_redis_refuses_rather_than_forgets(host: Host, cli: str) -> None:
    assert "maxmemory_policy:noeviction" in host.check_output(f"{cli} info memory")


def test_a_broken_configuration_is_refused_in_rediss_words(host: Host) -> None:
    host.check_output("{ cat /etc/redis/webapps.conf; echo 'maxmemori 1'; } > /tmp/candidate")
    result = host.run("/usr/local/lib/webapps/redis-validate /tmp/candidate")
    assert result.rc == 1
    assert "maxmemori" in result.stderr
    assert host.run("/usr/local/lib/webapps/redis-validate /etc/redis/webapps.conf").rc == 0
