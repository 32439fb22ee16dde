"""Whether nginx has loaded what is on disk, on an invented host."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import nginx
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from hypothesis import given
from hypothesis import strategies as st

SITE = Path("/etc/nginx/sites-enabled/amy.conf")
DUMP = f"""# configuration file /etc/nginx/nginx.conf:
user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf; # comment; with {"{"}
http {{
    include mime.types;
    include /etc/nginx/sites-enabled/*;
    log_format x '$a {{ ; "b" '
                 "c";
    pid /elsewhere;
}}

# configuration file {SITE}:
server {{
    ssl_certificate tls/chain.pem;
    ssl_certificate_key "/etc/ssl/private/key;1.pem";
    ssl_trusted_certificate $chosen;
    location ~ ^/a\\{{2\\}}/${{name}}$ {{ return 200 'it\\'s'; }}
}}
"""
MASTER = nginx.Process(100, 1, "nginx: master process /usr/sbin/nginx -g daemon on;", 1000.0)


def worker(pid: int, started: float, title: str = nginx.WORKER_TITLE, parent: int = 100) -> nginx.Process:
    return nginx.Process(pid, parent, title, started)


@dataclass
class FakeHost:
    """A machine up for 5,000 s, whose nginx started two workers at second 1,000."""

    now: float = 5000.0
    found: list[nginx.Process] = field(default_factory=lambda: [MASTER, worker(101, 1000.0), worker(102, 1000.0)])
    files: dict[Path, str] = field(default_factory=lambda: {Path("/run/nginx.pid"): "100\n"})
    ages: dict[Path, float] = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    on_sleep: Callable[[FakeHost], None] = lambda host: None

    def dump(self) -> str:
        return DUMP

    def processes(self) -> list[nginx.Process]:
        return list(self.found)

    def read(self, path: Path, offset: int = 0) -> str:
        return self.files.get(path, "")[offset:]

    def size(self, path: Path) -> int:
        return len(self.files.get(path, ""))

    def age(self, path: Path) -> float | None:
        return self.ages.get(path, 4500.0)

    def uptime(self) -> float:
        return self.now

    def hang_up(self, pid: int) -> None:
        self.signals.append(pid)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        self.on_sleep(self)


def test_files_patterns_and_certificates_are_watched() -> None:
    assert nginx.parse_dump(DUMP).watched == (
        Path("/etc/nginx/nginx.conf"),
        SITE,
        Path("/etc/nginx/modules-enabled"),
        Path("/etc/nginx/sites-enabled"),
        Path("/etc/nginx/tls/chain.pem"),
        Path("/etc/ssl/private/key;1.pem"),
    )


def test_the_main_block_names_pid_file_and_log() -> None:
    configuration = nginx.parse_dump(DUMP)
    assert configuration.pid_file == Path("/run/nginx.pid")
    assert configuration.error_log == Path("/var/log/nginx/error.log")
    assert nginx.parse_dump("").pid_file == nginx.DEFAULT_PID_FILE
    assert nginx.parse_dump("error_log stderr;").error_log is None


def test_quotes_comments_and_braces_in_words_are_read_as_nginx_does() -> None:
    words = [words for _depth, words in nginx.statements(DUMP)]
    assert ("log_format", "x", '$a { ; "b" ', "c") in words
    assert ("location", "~", r"^/a\{2\}/${name}$") in words
    assert ("return", "200", r"it\'s") in words


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(words for _depth, words in nginx.statements(text))


def test_nothing_is_to_be_loaded_while_all_files_are_older_than_the_workers() -> None:
    seen = nginx.observe(FakeHost())
    assert (seen.running, seen.workers, seen.not_loaded) == (True, (101, 102), ())


def test_a_file_that_changed_since_is_named() -> None:
    assert nginx.observe(FakeHost(ages={SITE: 3999.0})).not_loaded == (str(SITE),)
    assert nginx.observe(FakeHost(ages={SITE: 4001.0})).not_loaded == ()


def test_a_directory_that_lost_a_file_is_named() -> None:
    assert nginx.observe(FakeHost(ages={SITE.parent: 10.0})).not_loaded == (str(SITE.parent),)


def test_the_oldest_worker_counts_as_one_that_crashed_is_replaced_with_the_old_configuration() -> None:
    host = FakeHost(ages={SITE: 100.0})
    host.found[2] = worker(103, 4990.0)
    assert nginx.observe(host).not_loaded == (str(SITE),)


def test_workers_on_their_way_out_and_those_of_others_do_not_count() -> None:
    host = FakeHost(ages={SITE: 3000.0})
    host.found = [
        MASTER,
        worker(103, 2500.0),
        worker(101, 1000.0, "nginx: worker process is shutting down"),
        worker(201, 10.0, parent=200),
        worker(104, 900.0, "nginx: cache manager process"),
    ]
    seen = nginx.observe(host)
    assert (seen.workers, seen.not_loaded) == ((103,), ())


@pytest.mark.parametrize("pid", ["", "no number", "999", "50"])
def test_a_pid_file_without_a_master_means_that_nginx_does_not_run(pid: str) -> None:
    host = FakeHost(files={Path("/run/nginx.pid"): pid})
    host.found.append(nginx.Process(50, 1, "sleep 100", 1.0))
    assert not nginx.observe(host).running


def test_a_reload_ends_when_new_workers_have_taken_over() -> None:
    def step(host: FakeHost) -> None:
        if len(host.pauses) == 2:
            host.found.append(worker(111, host.now))
        if len(host.pauses) == 4:
            host.found = [MASTER, worker(111, host.now), worker(101, 1000.0, "nginx: worker process is shutting down")]

    host = FakeHost(on_sleep=step)
    assert nginx.reload(host, nginx.observe(host), timeout=30) == (111,)
    assert host.signals == [100]
    assert len(host.pauses) == 4
    assert host.pauses == sorted(host.pauses)


def test_a_reload_that_nginx_refuses_is_told_in_its_own_words() -> None:
    log = Path("/var/log/nginx/error.log")

    def refuse(host: FakeHost) -> None:
        host.files[log] = "old line\n[emerg] bind() to 0.0.0.0:80 failed\n"

    host = FakeHost(on_sleep=refuse)
    host.files[log] = "old line\n"
    with pytest.raises(WebappsError) as failure:
        nginx.reload(host, nginx.observe(host), timeout=30)
    assert failure.value.details["error_log"] == "[emerg] bind() to 0.0.0.0:80 failed"
    assert "still runs with its old configuration 30 s after" in failure.value.message
    assert "nginx_reload_timeout" in failure.value.message
    assert max(host.pauses) <= nginx.LONGEST_PAUSE


def test_an_nginx_that_does_not_run_cannot_be_reloaded() -> None:
    host = FakeHost(files={})
    with pytest.raises(WebappsError, match="does not run"):
        nginx.reload(host, nginx.observe(host), timeout=30)
    assert host.signals == []


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    ticks = os.sysconf("SC_CLK_TCK")
    numbers = ["S", "100"] + ["0"] * 17 + [str(12 * ticks), "0"]
    directory = tmp_path / "101"
    directory.mkdir()
    (directory / "stat").write_text(f"101 (nginx) (x) {' '.join(numbers)}")
    (directory / "cmdline").write_bytes(b"nginx: worker process\0\0\0")
    (tmp_path / "102").mkdir()
    (tmp_path / "self").mkdir()
    return tmp_path


def test_processes_are_read_from_proc_and_those_that_ended_meanwhile_are_left_out(proc: Path) -> None:
    assert nginx.LinuxHost("nginx", proc).processes() == [nginx.Process(101, 100, nginx.WORKER_TITLE, 12.0)]


def test_a_configuration_that_nginx_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    binary = tmp_path / "nginx"
    binary.write_text("#!/bin/sh\necho 'nginx: [emerg] unknown directive' >&2\nexit 1\n")
    binary.chmod(0o755)
    with pytest.raises(WebappsError, match="unknown directive") as failure:
        nginx.LinuxHost(str(binary)).dump()
    assert failure.value.details["nginx_test"] == "nginx: [emerg] unknown directive"


def test_files_have_ages_and_a_link_is_as_young_as_its_youngest_part(tmp_path: Path) -> None:
    host = nginx.LinuxHost("nginx")
    old = tmp_path / "old"
    old.write_text("text")
    (tmp_path / "link").symlink_to(old)
    age, link_age = host.age(old), host.age(tmp_path / "link")
    assert age is not None
    assert link_age is not None
    assert age + 0.1 > link_age > -0.1
    assert host.age(tmp_path / "missing") is None
    assert (host.size(old), host.size(tmp_path / "missing")) == (4, 0)
    assert (host.read(old, 2), host.read(tmp_path / "missing")) == ("xt", "")
