"""The search for secrets finds what is planted, in every form, and takes nothing else for one."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbox.canary import CommandLines, Finding, Needles, search_tree, secrets

SECRET = "Zq8:vW2'x\"9 &kL,3-_.Tp"
NEEDLES = Needles({"redis": SECRET, "database": "aGVsbG8gd29ybGQ"})
WRITTEN = {
    "as it is": SECRET,
    "for a shell": shlex.quote(SECRET),
    "in a URL": quote(SECRET, safe=""),
    "in JSON": json.dumps({"password": SECRET}),
    "in Python": repr(["-a", SECRET]),
    "in hexadecimal": SECRET.encode().hex(),
    **{
        f"in base64 after {shift} characters": base64.b64encode(b"x" * shift + SECRET.encode() + b"tail").decode()
        for shift in range(4)
    },
    "in base64 for URLs": base64.urlsafe_b64encode(b"user:" + SECRET.encode()).decode(),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_secret_is_found_however_it_is_written(text: str) -> None:
    assert NEEDLES.within(f"before {text} after".encode()) == {"redis"}


def test_what_is_no_secret_is_not_found() -> None:
    assert NEEDLES.within(b"redis://:********@10.77.1.21 " + b"x" * 1000) == set()


def test_a_secret_that_would_be_found_by_chance_is_refused() -> None:
    with pytest.raises(AssertionError, match="by chance"):
        Needles({"short": "1"})


def test_secrets_come_from_files_without_what_ansible_adds(tmp_path: Path) -> None:
    (tmp_path / "redis").write_text("abcdefghijklmno salt=xyz\n")
    assert secrets(tmp_path) == {"redis": "abcdefghijklmno"}


def test_a_secret_in_a_command_line_is_seen_while_the_process_lives() -> None:
    watcher = CommandLines(Needles({"redis": "canary-Zq8-vW2x9kL3"}))
    watcher.start()
    subprocess.run(["sh", "-c", "sleep 0.5", "--password=canary-Zq8-vW2x9kL3"], check=True)
    watcher.stop()
    assert watcher.leaks == {"redis in a command line of sh"}


def test_without_one_nothing_is_seen() -> None:
    watcher = CommandLines(Needles({"redis": "canary-nobody-has-this"}))
    watcher.start()
    while not watcher.rounds:
        time.sleep(0.01)
    watcher.stop()
    assert watcher.leaks == set()


def test_a_directory_is_searched_apart_from_what_is_left_out(tmp_path: Path) -> None:
    for name in ("state/secret", "out/log", "out/clean"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("nothing" if name.endswith("clean") else f"password={SECRET}")
    assert search_tree(tmp_path, NEEDLES, without=[tmp_path / "state"]) == [f"redis in {tmp_path / 'out/log'}"]


@pytest.mark.parametrize(
    ("leak", "readable", "mode", "group", "path"),
    [
        (False, "no", 0o640, "amy", "/webapps/amy.sandbox.test/environments/0123abcd"),
        (False, "no", 0o600, "root", "/root/.pgpass"),
        (False, "no", 0o640, "root", "/etc/webapps/password"),
        (True, "no", 0o644, "root", "/root/.pgpass"),
        (True, "everybody", 0o644, "root", "/etc/redis/redis.conf"),
        (True, "no", 0o640, "www-data", "/etc/nginx/password"),
        (True, "no", 0o600, "root", "/var/log/syslog"),
        (True, "no", 0o640, "amy", "/webapps/amy.sandbox.test/logs/gunicorn_supervisor.log"),
        (True, "packed", 0, "root", "/var/lib/webapps/amy.sandbox.test/artifacts/a.tar.zst"),
    ],
)
def test_a_leak_is_what_others_may_read_and_whatever_is_logged(
    leak: bool, readable: str, mode: int, group: str, path: str
) -> None:
    assert Finding("web-1", readable, mode, "root", group, path).is_leak(["amy", "redis"]) is leak
