"""Supervisor keeps programs running through what usually stops them, and logs lose nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

LOGS = "/webapps/amy.example.org/logs"
ROTATE = "logrotate --force /etc/logrotate.d/webapps-amy.example.org-programs"
COUNTER = """
import itertools, time
for number in itertools.count():
    print(number, flush=True)
    time.sleep(0.001)
"""
PROGRAM = f"""
[program:counter]
command=python3 /opt/counter.py
user=amy
stdout_logfile={LOGS}/gunicorn_supervisor.log
stdout_logfile_maxbytes=0
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def lines(host: Host, name: str) -> int:
    return int(host.run(f"cat {LOGS}/{name} 2>/dev/null | wc -l").stdout)


@pytest.fixture
def counter(host: Host) -> Iterator[None]:
    """A program that numbers its lines."""
    host.check_output(f"cat > /opt/counter.py << 'END'\n{COUNTER}\nEND")
    host.check_output(f"cat > /etc/supervisor/conf.d/counter.conf << 'END'\n{PROGRAM}\nEND")
    host.check_output("supervisorctl reread && supervisorctl add counter")
    yield
    host.check_output("supervisorctl stop counter && supervisorctl remove counter")
    host.check_output(f"rm -f /etc/supervisor/conf.d/counter.conf {LOGS}/*")


def test_it_runs_now_and_after_a_reboot(host: Host) -> None:
    assert host.service("supervisor").is_running, host.run("journalctl -u supervisor").stdout
    assert host.service("supervisor").is_enabled
    assert host.service("logrotate.timer").is_running
    assert host.service("logrotate.timer").is_enabled


def test_upgrades_leave_it_alone(host: Host) -> None:
    assert host.check_output("apt-mark showhold") == "supervisor"


def test_only_root_controls_programs(host: Host) -> None:
    assert host.run("runuser -u amy -- supervisorctl -c /etc/supervisor/supervisord.conf status").rc != 0


@pytest.mark.usefixtures("counter")
def test_no_line_is_lost_while_logs_are_rotated(host: Host) -> None:
    for _attempt in range(2):
        wait_until(lambda: lines(host, "gunicorn_supervisor.log") > 500, "the log does not grow")
        host.check_output(ROTATE)
    wait_until(lambda: lines(host, "gunicorn_supervisor.log") > 500, "the log does not grow after its rotation")
    host.check_output("supervisorctl stop counter")
    log = f"{LOGS}/gunicorn_supervisor.log"
    numbers = [int(line) for line in host.check_output(f"zcat {log}.2.gz; cat {log}.1 {log}").split()]
    assert numbers == list(range(len(numbers)))
    host.check_output("supervisorctl start counter")


@pytest.mark.usefixtures("counter")
def test_rotated_logs_are_roots_and_readable_to_the_applications_group(host: Host) -> None:
    wait_until(lambda: lines(host, "gunicorn_supervisor.log") > 0, "the log does not grow")
    host.check_output(ROTATE)
    log = host.file(f"{LOGS}/gunicorn_supervisor.log")
    assert (log.user, log.group, log.mode) == ("root", "amy", 0o640)


@pytest.mark.usefixtures("counter")
def test_the_program_goes_on_when_the_package_is_asked_to_upgrade(host: Host) -> None:
    before = host.check_output("supervisorctl pid counter")
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes --no-download")
    assert host.check_output("supervisorctl pid counter") == before
