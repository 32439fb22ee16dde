"""No secret of the fleet shows in an output, in a list of processes, in a log, or in a file that others may read.

This file is the last of the scenario: it looks at what all the tests before it left, too.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from sandbox.canary import CommandLines, Finding, Needles, search_host, search_tree, secret_inputs
from sandbox.fleet import ROOT, STATE, Fleet
from sandbox.proof import on

OUT = ROOT / "out" / "test" / "operations"
HOSTS = ("web-1", "web-2", "worker-1", "db-1")
# The application's own group reads its environment, Redis its password.
GROUPS = ("amy", "redis")
# What a run on the controller writes: its own logs, what it keeps between runs, Ansible's temporary files.
CONTROLLER = (ROOT / "out", ROOT / ".cache", Path("~/.cache/webapps").expanduser(), Path("~/.ansible").expanduser())
PLAYBOOKS = (
    ("playbooks/site.yml",),
    ("playbooks/site.yml", "--check"),
    ("playbooks/deploy.yml", "-e", "deploy_version=v2"),
    ("playbooks/deploy.yml", "-e", "deploy_version=v1", "--check"),
    ("playbooks/deploy.yml", "-e", "deploy_version=v1", "-e", "sandbox_banner=rolled"),
    ("playbooks/maintenance.yml", "--tags", "on"),
    ("playbooks/maintenance.yml", "--tags", "off"),
    ("playbooks/backup.yml",),
    ("playbooks/status.yml",),
)


@pytest.fixture(scope="module")
def outputs(fleet: Fleet) -> dict[str, str]:
    """What each playbook says at its loudest, when it works and when it fails."""
    said = {" ".join(command): fleet.must(*command).output for command in PLAYBOOKS}
    for version in ("v4-no-import", "v5-error-500"):
        run = fleet.run("playbooks/deploy.yml", "-e", f"deploy_version={version}")
        assert run.code != 0
        said[version] = run.output
    fleet.deploy("v1")
    return said


@pytest.fixture(scope="module")
def refused(fleet: Fleet) -> dict[str, tuple[Needles, str]]:
    """What playbooks say when a secret that this fleet has no use for is made up, each secret alone."""
    playbooks = yaml.safe_load((ROOT / "sandbox/vars/canaries.yml").read_text())["sandbox_canary_playbooks"]
    said = {}
    extra = STATE / "canary.json"
    for given, playbook in ((one, name) for one in secret_inputs() for name in playbooks.get(one.role, [])):
        canary = secrets.token_hex(20)
        # In a file: on the command line it would be a leak.
        extra.touch(mode=0o600)
        extra.write_text(json.dumps(given.given(canary)))
        run = fleet.run(playbook, "-e", "deploy_version=v1", "-e", f"@{extra}", "--check")
        extra.unlink()
        said[f"{'.'.join(given.path)} in {playbook}"] = (Needles({"canary": canary}), run.output)
    return said


def test_no_playbook_shows_a_secret_that_it_refuses(refused: dict[str, tuple[Needles, str]]) -> None:
    assert len(refused) > 1
    assert [name for name, (needles, output) in refused.items() if needles.within(output.encode())] == []


@pytest.fixture(scope="module")
def findings(outputs: dict[str, str], needles: Needles) -> list[Finding]:
    return [finding for host in HOSTS for finding in search_host(host, needles)]


def leaks(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.is_leak(GROUPS)]


def test_no_playbook_shows_a_secret_at_its_loudest(outputs: dict[str, str], needles: Needles) -> None:
    assert {name: found for name, output in outputs.items() if (found := needles.within(output.encode()))} == {}


def test_the_secrets_are_in_use_where_they_belong(findings: list[Finding]) -> None:
    paths = {(finding.host, finding.path.rpartition("/")[0]) for finding in findings}
    for host in ("web-1", "web-2", "worker-1"):
        assert (host, "/webapps/amy.sandbox.test/environments") in paths


def test_no_file_and_no_log_of_a_host_shows_a_secret_to_others(findings: list[Finding]) -> None:
    assert leaks(findings) == []


@pytest.mark.parametrize("host", HOSTS[:3])
def test_nobody_else_is_in_the_group_that_reads_the_environment(host: str, outputs: dict[str, str]) -> None:
    _name, _password, _number, members = on(host, "getent", "group", "amy").strip().split(":")
    assert members in ("", "amy")


def test_no_command_line_on_any_host_ever_had_a_secret(outputs: dict[str, str], command_lines: CommandLines) -> None:
    assert command_lines.rounds > len(outputs)
    assert command_lines.leaks == set()


def test_the_controller_keeps_no_secret(outputs: dict[str, str], needles: Needles) -> None:
    assert [leak for directory in CONTROLLER for leak in search_tree(directory, needles, without=[STATE])] == []


@contextmanager
def planted(host: str, path: str, content: str, mode: str) -> Iterator[None]:
    """A file on a machine for a while; its content does not pass through a command line."""
    write = ["docker", "exec", "--interactive", f"webapps-{host}", "sh", "-c", f"cat > {path} && chmod {mode} {path}"]
    subprocess.run(write, input=content, text=True, check=True)
    try:
        yield
    finally:
        on(host, "rm", path)


@pytest.mark.parametrize(
    ("path", "mode"),
    [("/etc/planted.conf", "644"), ("/run/planted", "644"), ("/var/log/planted", "600")],
    ids=["a file for everybody", "one in memory", "a log"],
)
def test_a_planted_leak_would_be_found(needles: Needles, path: str, mode: str) -> None:
    secret = (STATE / "secrets" / "redis").read_text().split(" ", 1)[0].strip()
    with planted("web-1", path, f"url = redis://:{secret}@10.77.1.21:6379/0\n", mode):
        assert [finding.path for finding in leaks(search_host("web-1", needles))] == [path]


def test_a_planted_command_line_on_a_host_would_be_seen() -> None:
    word = secrets.token_hex(20)
    watcher = CommandLines(Needles({"planted": word}))
    watcher.start()
    # By stdin, so that only the process on the host has it.
    program = 'read -r word; exec python3 -c "import time; time.sleep(1)" "$word"'
    command = ["docker", "exec", "--interactive", "webapps-web-2", "sh", "-c", program]
    subprocess.run(command, input=f"{word}\n", text=True, check=True)
    watcher.stop()
    assert watcher.leaks == {"planted in a command line of python3"}
