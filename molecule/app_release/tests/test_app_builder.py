"""What the builder alone does: get at the source, migrate, keep the artifact."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

ROOT = "/webapps/amy.example.org"
STORAGE = "/var/lib/webapps/amy.example.org"
AS_AMY = "runuser -u amy --"
testinfra_hosts = ["ansible://webapps-app_release"]


@pytest.fixture
def release(host: Host) -> str:
    """The one release that is staged."""
    (name,) = host.check_output(f"ls {ROOT}/releases").split()
    return name


@pytest.fixture
def tree(release: str) -> str:
    return f"{ROOT}/releases/{release}"


@pytest.fixture
def environment(host: Host) -> str:
    (name,) = host.check_output(f"ls {ROOT}/environments").split()
    return f"{ROOT}/environments/{name}"


def call(host: Host, **arguments: object) -> dict[str, Any]:
    """Call the module release on the host, for real."""
    text = " ".join(f"{name}={value}" for name, value in {"root": ROOT, **arguments}.items())
    result: dict[str, Any] = host.ansible("carpentries.webapps.release", text, check=False, become=True)
    return result


def plan(host: Host, **arguments: object) -> dict[str, Any]:
    """Ask the git server what the scenario's version is."""
    ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    repository = json.loads((ephemeral / "repository.json").read_text())
    given = {
        "repository": repository["address"],
        "known_hosts": repository["known_hosts"],
        "key": (ephemeral / "deploy_key").read_text(),
        "version": "v1-web",
        "root": ROOT,
        **arguments,
    }
    result: dict[str, Any] = host.ansible(
        "carpentries.webapps.release_plan", json.dumps(given), check=False, become=True
    )
    return result


def test_migrations_were_applied_once_with_the_releases_code(host: Host, tree: str, environment: str) -> None:
    plan = f"cd {tree} && {AS_AMY} webapps-run {environment} .venv/bin/python manage.py showmigrations --plan"
    lines = host.check_output(plan).splitlines()
    assert lines
    assert [line for line in lines if not line.startswith("[X]")] == []


def test_what_follows_the_migrations_ran_with_the_releases_code(host: Host, tree: str, environment: str) -> None:
    program = (
        "import django; django.setup(); from django.core.cache import cache; cache.set('a', 1); print(cache.get('a'))"
    )
    variables = f"{environment} env DJANGO_SETTINGS_MODULE=sandboxapp.settings"
    assert host.check_output(f'cd {tree} && {AS_AMY} webapps-run {variables} .venv/bin/python -c "{program}"') == "1"


def test_what_a_command_prints_shows_no_secret(host: Host, release: str, environment: str) -> None:
    arguments = {
        "root": ROOT,
        "release": release,
        "environment_digest": environment.rsplit("/", 1)[1],
        "user": "amy",
        "command": ["printenv", "SECRET_KEY", "DATABASE_URL"],
        "changes": False,
    }
    result = host.ansible("carpentries.webapps.release_command", json.dumps(arguments), check=False, become=True)
    assert result["output"] == ["***", "***"]


def test_a_private_repository_opens_for_its_deploy_key_alone(host: Host) -> None:
    assert "commit" in plan(host)
    refused = plan(host, key="")
    assert "Permission denied" in refused["msg"]
    assert "app_release_repository_key" in refused["msg"]


def test_a_git_server_that_is_not_the_known_one_gets_no_answer(host: Host) -> None:
    address = plan(host)["repository"].split("@")[1].split("/")[0]
    other = f"{address} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    for known in ([other], []):
        assert "app_release_repository_known_hosts" in plan(host, known_hosts=known)["msg"]


def test_a_damaged_artifact_is_refused(host: Host) -> None:
    host.check_output(f"cp {STORAGE}/artifacts/*.tar.zst /root/damaged.tar.zst")
    digest = host.check_output("sha256sum /root/damaged.tar.zst").split()[0]
    host.check_output("printf x | dd of=/root/damaged.tar.zst bs=1 seek=5000 conv=notrunc")
    other = "0000000000-00000000"
    result = call(host, state="staged", id=other, artifact="/root/damaged.tar.zst", sha256=digest, group="amy")
    assert "is damaged" in result["msg"]
    assert not host.file(f"{ROOT}/releases/{other}").exists
