"""A Redis that others run: reached from the hosts, with TLS, and nothing installed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

testinfra_hosts = ["webapps-redis-client"]
PASSWORD = "throwaway0123456789"
PLAYBOOK = Path(__file__).parent.parent / "entry.yml"


@pytest.fixture
def service() -> str:
    command = ["docker", "exec", "webapps-redis-service", "hostname", "--all-ip-addresses"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


def reach(url: str, ca_file: str = "/etc/ssl/redis-ca.pem") -> str:
    """What the role says when it reaches for a URL from the client's machine."""
    variables = json.dumps({"entry": "reach", "redis_url": url, "redis_ca_file": ca_file})
    done = subprocess.run(
        [
            "ansible-playbook",
            f"--inventory={os.environ['MOLECULE_INVENTORY_FILE']}",
            f"--extra-vars={variables}",
            "-vvv",
            str(PLAYBOOK),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert PASSWORD not in done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_nothing_is_installed(host: Host) -> None:
    assert not host.package("redis-server").is_installed
    assert not host.file("/etc/redis").exists


def test_it_is_reached_and_what_endangers_jobs_is_said(service: str) -> None:
    said = reach(f"rediss://webapps:{PASSWORD}@{service}:6379/0")
    assert "FAILED" not in said
    assert "has maxmemory_policy allkeys-lru: short of memory it forgets jobs" in said
    assert "writes no append-only file and has no replica" in said


@pytest.mark.parametrize(
    ("url", "ca_file", "said"),
    [
        ("rediss://webapps:wrong@{}:6379/", "/etc/ssl/redis-ca.pem", "does not let user webapps in: WRONGPASS"),
        ("rediss://{}:6379/", "/etc/ssl/redis-ca.pem", "does not let the default user in: NOAUTH"),
        ("rediss://webapps:x@{}:6379/", "", "is not trusted"),
        ("redis://webapps:x@{}:6379/", "", "its URL begins with rediss://"),
        ("rediss://webapps:x@{}:6380/", "", "is not reached from this host: [Errno 111] Connection refused"),
        ("rediss://webapps:x@nowhere.invalid/", "", "The name nowhere.invalid"),
        ("https://webapps:x@{}/", "", "Redis's URL cannot be read: it begins with 'https'"),
    ],
)
def test_an_error_says_which_step_failed(service: str, url: str, ca_file: str, said: str) -> None:
    assert said in reach(url.format(service), ca_file)
