"""Nothing of what applications write into their logs is lost, however they write it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

LOGS = "/webapps/amy.example.org/logs"
UNIT = "webapps-logs-amy.example.org"
WRITERS = 4
# What Django's usual settings do: several processes, each with a FileHandler that opens the log once.
WRITER = f"""
import logging, sys, time
handler = logging.FileHandler("{LOGS}/server.log")
handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
logger = logging.getLogger("notes")
logger.setLevel("INFO")
logger.addHandler(handler)
number = 0
while True:
    logger.info("writer %s line %d", sys.argv[1], number)
    number += 1
    time.sleep(0.0005)
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def rotate(host: Host) -> None:
    """Have the timer's unit rotate everything that has a full block, as if a day had passed."""
    host.check_output(f"find {LOGS} -name '*.log.1.gz' -exec touch --date '2 days ago' {{}} +")
    # More often than systemd has patience for.
    host.run(f"systemctl reset-failed {UNIT}.service")
    host.check_output(f"systemctl start {UNIT}.service")


def archives(host: Host, name: str) -> list[str]:
    """The archives of a log, the oldest first."""
    found = host.check_output(f"find {LOGS} -name '{name}.*.gz'").split()
    return sorted(found, key=lambda path: int(path.split(".")[-2]), reverse=True)


def everything(host: Host, name: str) -> str:
    packed = " ".join(archives(host, name))
    return str(host.check_output(f"{{ zcat {packed}; cat {LOGS}/{name}; }}"))


@pytest.fixture
def writers(host: Host) -> Iterator[Callable[[], None]]:
    """Processes of the application that log all the time; call the fixture to stop them."""

    def stop() -> None:
        host.check_output("systemctl stop 'writer@*'")

    host.check_output(f"cat > /opt/writer.py << 'END'\n{WRITER}\nEND")
    unit = "[Service]\nUser=amy\nExecStart=/usr/bin/python3 /opt/writer.py %i\n"
    host.check_output(f"cat > /etc/systemd/system/writer@.service << 'END'\n{unit}\nEND")
    host.check_output("systemctl daemon-reload")
    host.check_output("systemctl start " + " ".join(f"writer@{number}" for number in range(WRITERS)))
    yield stop
    stop()
    host.check_output(f"rm -f {LOGS}/*")


@pytest.fixture
def clean(host: Host) -> Iterator[None]:
    yield
    host.run(f"systemctl reset-failed {UNIT}.service")
    host.check_output(f"rm -f {LOGS}/* {LOGS}/.[a-z]*")


def test_no_line_is_lost_while_several_processes_write_and_never_open_the_log_again(
    host: Host, writers: Callable[[], None]
) -> None:
    inode = ""
    for rotation in range(10):
        wait_until(lambda: host.file(f"{LOGS}/server.log").size > 30_000, "the log does not grow")
        inode = inode or host.check_output(f"stat --format %i {LOGS}/server.log")
        rotate(host)
        assert len(archives(host, "server.log")) == rotation + 1
    assert host.check_output(f"stat --format %i {LOGS}/server.log") == inode
    writers()
    lines = everything(host, "server.log").splitlines()
    seen: dict[str, list[int]] = {}
    for line in lines:
        _day, _time, level, _writer, writer, _line, number = line.split()
        assert level == "INFO"
        seen.setdefault(writer, []).append(int(number))
    assert sorted(seen) == [str(number) for number in range(WRITERS)]
    lost = {writer: len(set(range(max(numbers) + 1)) - set(numbers)) for writer, numbers in seen.items()}
    assert lost == dict.fromkeys(seen, 0)
    assert all(numbers == list(range(len(numbers))) for numbers in seen.values())
    print(f"{len(lines)} lines, 0 lost")


@pytest.mark.usefixtures("clean")
def test_archives_are_who_the_log_is_and_the_oldest_go(host: Host) -> None:
    host.check_output(f"install -o amy -g amy -m 0640 /dev/null {LOGS}/debug.log")
    for number in range(17):
        host.check_output(f"head -c 9000 /dev/zero | tr '\\0' {number % 10} >> {LOGS}/debug.log")
        rotate(host)
    assert len(archives(host, "debug.log")) == 14
    archive = host.file(f"{LOGS}/debug.log.1.gz")
    assert (archive.user, archive.group, archive.mode) == ("amy", "amy", 0o640)


@pytest.mark.usefixtures("clean")
def test_a_log_whose_day_is_not_over_is_left_alone(host: Host) -> None:
    host.check_output(f"head -c 9000 /dev/zero > {LOGS}/server.log")
    rotate(host)
    host.check_output(f"head -c 9000 /dev/zero >> {LOGS}/server.log")
    host.check_output(f"systemctl start {UNIT}.service")
    assert len(archives(host, "server.log")) == 1


@pytest.mark.usefixtures("clean")
def test_the_logs_of_nginx_and_supervisor_are_left_to_their_roles(host: Host) -> None:
    host.check_output(f"head -c 9000 /dev/zero > {LOGS}/nginx_access.log")
    rotate(host)
    assert archives(host, "nginx_access.log") == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("how", ["ln --symbolic", "ln"])
def test_the_application_cannot_have_it_read_or_cut_what_is_not_a_log(host: Host, how: str) -> None:
    secret = "/webapps/amy.example.org/secret"
    host.check_output(f"head -c 9000 /dev/zero | tr '\\0' s > {secret} && {how} {secret} {LOGS}/evil.log")
    result = host.run(f"systemctl start {UNIT}.service")
    assert result.rc != 0
    assert "evil.log" in host.check_output(f"journalctl --unit {UNIT} --lines 5")
    assert host.file(secret).size == 9000
    assert archives(host, "evil.log") == []
    host.check_output(f"rm {secret}")


@pytest.mark.usefixtures("clean")
def test_a_log_that_is_not_appended_to_is_left_alone_and_its_writer_named(host: Host) -> None:
    host.check_output(f"head -c 9000 /dev/zero > {LOGS}/odd.log && head -c 9000 /dev/zero > {LOGS}/server.log")
    writer = f"import time; held = open('{LOGS}/odd.log', 'r+'); time.sleep(1000)"
    pid = host.check_output(f'(setsid python3 -c "{writer}" > /dev/null 2>&1 & echo $!)')
    wait_until(lambda: f"{LOGS}/odd.log" in host.run(f"ls -l /proc/{pid}/fd").stdout, "the writer did not open its log")
    assert host.run(f"systemctl start {UNIT}.service").rc != 0
    host.check_output(f"kill {pid}")
    assert f"Process {pid} writes {LOGS}/odd.log without O_APPEND" in host.check_output(
        f"journalctl --unit {UNIT} -n 5"
    )
    assert host.file(f"{LOGS}/odd.log").size == 9000
    # The others were rotated all the same.
    assert len(archives(host, "server.log")) == 1


def test_the_timer_runs_now_and_after_a_reboot(host: Host) -> None:
    assert host.service(f"{UNIT}.timer").is_running
    assert host.service(f"{UNIT}.timer").is_enabled
