"""The directory of sockets and the launcher, without a host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.templates.render import render, value


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    path = tmp_path / "webapps-run"
    path.write_text(render("app_directory", "webapps-run.j2"))
    path.chmod(0o755)
    return path


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})


def test_the_command_gets_the_variables_and_its_own_arguments(launcher: Path, tmp_path: Path) -> None:
    (tmp_path / "environment").write_text("A='$HOME & \"so\"'\nB='it'\\''s'\n")
    result = run(launcher, "environment", "sh", "-c", 'printf "%s|" "$A" "$B" "$@"', "sh", "1 2", "", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ('$HOME & "so"|it\'s|1 2||', "")


def test_the_launcher_becomes_the_command(launcher: Path, tmp_path: Path) -> None:
    (tmp_path / "environment").touch()
    assert run(launcher, tmp_path / "environment", "sh", "-c", "exit 7", cwd=tmp_path).returncode == 7
    command = [launcher, tmp_path / "environment", "sh", "-c", "echo $$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].strip() == str(process.pid)


def test_a_missing_file_is_named(launcher: Path, tmp_path: Path) -> None:
    result = run(launcher, "/nowhere/environment", "true", cwd=tmp_path)
    assert result.returncode == 66
    assert "cannot read the environment file /nowhere/environment" in result.stderr


def test_too_few_words_are_explained(launcher: Path, tmp_path: Path) -> None:
    result = run(launcher, "environment", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (64, "usage: webapps-run ENVFILE COMMAND [ARGUMENT...]\n")


def test_systemd_makes_the_same_directories_of_sockets_as_the_role() -> None:
    made = render("app_directory", "tmpfiles.conf.j2").splitlines()[3:]
    assert made == ["d /run/webapps 0755 root root -", "d /run/webapps/amy.example.org 0750 amy www-data -"]


def test_nothing_but_sockets_and_logs_is_the_applications() -> None:
    tree = value("app_directory", "__app_directory_tree")
    assert {part["path"] for part in tree if part["owner"] == "amy"} == {"/run/webapps/amy.example.org"}
    writable = {part["path"] for part in tree if part["group"] == "amy" and part["mode"][2] in "267"}
    assert writable == {"/webapps/amy.example.org/logs"}
