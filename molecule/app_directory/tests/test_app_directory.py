"""What the application may and may not do in its own directory, and what a reboot leaves."""

from __future__ import annotations

import pytest
from testinfra.host import Host

ROOT = "/webapps/amy.example.org"
AS_AMY = "runuser -u amy --"


@pytest.mark.parametrize("path", ["", "/releases", "/environments", "/static", "/DB_backups"])
def test_the_application_cannot_change_what_it_runs(host: Host, path: str) -> None:
    assert host.run(f"{AS_AMY} touch {ROOT}{path}/intruder").rc != 0


@pytest.mark.parametrize("path", ["/releases", "/environments"])
def test_the_application_reads_releases_and_environments_and_others_do_not(host: Host, path: str) -> None:
    assert host.run(f"{AS_AMY} ls {ROOT}{path}").rc == 0
    assert host.run(f"runuser -u nobody -- ls {ROOT}{path}").rc != 0


def test_backups_are_for_root_alone(host: Host) -> None:
    assert host.run(f"{AS_AMY} ls {ROOT}/DB_backups").rc != 0


def test_the_application_writes_logs_but_cannot_replace_those_of_root(host: Host) -> None:
    host.check_output(f"install -m 0640 /dev/null {ROOT}/logs/nginx_error.log")
    assert host.run(f"{AS_AMY} touch {ROOT}/logs/server.log").rc == 0
    assert host.run(f"{AS_AMY} ln -sf /etc/passwd {ROOT}/logs/nginx_error.log").rc != 0
    assert host.run(f"{AS_AMY} mv {ROOT}/logs/nginx_error.log {ROOT}/logs/other.log").rc != 0


def test_the_web_server_reaches_static_files_and_sockets_and_nothing_secret(host: Host) -> None:
    assert host.run(f"runuser -u www-data -- ls {ROOT}/static /run/webapps/amy.example.org").rc == 0
    assert host.run("runuser -u www-data -- touch /run/webapps/amy.example.org/intruder.sock").rc != 0
    assert host.run(f"runuser -u www-data -- ls {ROOT}/environments").rc != 0


def test_nobody_logs_in_as_the_application(host: Host) -> None:
    assert host.user("amy").shell == "/usr/sbin/nologin"
    assert host.user("amy").group == "amy"
    assert host.check_output("passwd --status amy").split()[1] == "L"


def test_the_directory_of_sockets_comes_back_after_a_reboot(host: Host) -> None:
    before = host.check_output("stat --format='%U %G %a' /run/webapps/amy.example.org")
    host.check_output("rm -rf /run/webapps")
    host.check_output("systemd-tmpfiles --create")
    assert host.check_output("stat --format='%U %G %a' /run/webapps/amy.example.org") == before == "amy www-data 750"


def test_the_launcher_gives_the_environment_to_the_command_it_becomes(host: Host) -> None:
    host.check_output(f'printf "GREETING=\'it is; \\$HOME & \\"so\\"\'\\n" > {ROOT}/environments/greeting')
    host.check_output(f"chgrp amy {ROOT}/environments/greeting && chmod 0640 {ROOT}/environments/greeting")
    shown = host.check_output(
        f"cd {ROOT}/environments && {AS_AMY} webapps-run greeting sh -c 'printf %s \"$GREETING|$1\"' sh 'an argument'"
    )
    assert shown == 'it is; $HOME & "so"|an argument'


def test_the_launcher_says_which_file_it_cannot_read(host: Host) -> None:
    host.check_output(f"install -m 0600 /dev/null {ROOT}/environments/secret")
    for path in (f"{ROOT}/environments/secret", f"{ROOT}/environments/missing"):
        result = host.run(f"{AS_AMY} webapps-run {path} true")
        assert result.rc == 66
        assert f"amy cannot read the environment file {path}" in result.stderr
