"""The commands that a publish runs."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import (
    CommandResult,
    backlog,
    host_tools,
    now,
    run_command,
)

ME = getpass.getuser()


def run(script: str, tmp_path: Path, timeout: float = 30, user: str = ME) -> CommandResult:
    return run_command(
        ["/bin/sh", "-c", script], user=user, cwd=tmp_path, stdin="typed", variables={"X": "1"}, timeout=timeout
    )


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "app.sock"


def test_a_command_gets_stdin_directory_and_only_the_given_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "leaks")
    result = run('cat; pwd; echo "$X $USER ${SECRET-none}"; echo wrong >&2; exit 3', tmp_path)
    assert result == CommandResult(3, f"typed{tmp_path}\n1 {ME} none\nwrong\n")


def test_a_command_is_stopped_with_its_children_at_the_end_of_its_time(tmp_path: Path) -> None:
    result = run("echo begun; sleep 1000 & sleep 1000", tmp_path, timeout=0.5)
    assert result == CommandResult(None, "begun\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_programs_user() -> None:
    assert run("id -un; id -gn", Path("/"), user="nobody").output.split() == ["nobody", "nogroup"]


def test_the_queue_of_a_listening_socket_is_counted(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen()
        if backlog(path) is None:
            pytest.skip("iproute2 is not installed")
        assert backlog(path) == 0
        client.connect(str(path))
        assert backlog(path) == 1
    assert backlog(path) == 0


def test_without_ss_the_queue_is_unknown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Mock(side_effect=FileNotFoundError))
    assert backlog(path) is None


def test_the_hosts_own_tools_tell_utc() -> None:
    assert now().endswith("+00:00")
    assert host_tools(Mock()).now is now
