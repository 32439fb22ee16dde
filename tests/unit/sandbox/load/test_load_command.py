"""The command line leaves its files and tells by its exit status what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.load.__main__ import main


class Site(BaseHTTPRequestHandler):
    """A site of one page."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'<link rel="stylesheet" href="/static/site.75a34061b2fc.css">'
        self.send_response(200)
        self.send_header("X-Release", "aaa")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """Serve the site and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_signals_mark_the_roll_and_end_the_run(site: str, tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "sandbox.load", "--url", site, "--rate", "100", "--out", str(tmp_path)],
        text=True,
    )
    log = tmp_path / "requests.jsonl"

    def wait_for(text: str) -> None:
        while running.poll() is None and (not log.exists() or text not in log.read_text(encoding="utf-8")):
            pass

    try:
        wait_for('"phase": "steady"')
        assert int((tmp_path / "pid").read_text(encoding="utf-8")) == running.pid
        os.kill(running.pid, signal.SIGUSR1)
        wait_for('"phase": "roll"')
        os.kill(running.pid, signal.SIGUSR2)
        wait_for('"phase": "after"')
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait() == 0
    finally:
        running.kill()
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["phases"]) == {"steady", "roll", "after"}
    assert summary["failed"] == 0
    assert summary["requests"] == len(log.read_text(encoding="utf-8").splitlines())
    assert not (tmp_path / "pid").exists()


def test_a_run_with_failures_ends_non_zero_and_still_writes_its_summary(tmp_path: Path) -> None:
    arguments = ["--url", "http://127.0.0.1:1", "--rate", "50", "--duration", "0.1", "--out", str(tmp_path)]
    assert main(arguments) == 1
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["requests"] == summary["failed"] == 5
    assert "ConnectError" in summary["failures"][0]["error"]


def test_a_run_that_breaks_off_leaves_no_summary_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pid").mkdir()
    with pytest.raises(IsADirectoryError):
        main(["--url", "http://127.0.0.1:1", "--duration", "0.1", "--out", str(tmp_path)])
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "amy.sandbox.test"], "--url is 'amy.sandbox.test'"),
        (["--url", "https://amy.sandbox.test", "--rate", "0"], "--rate is 0"),
        (["--url", "https://amy.sandbox.test", "--ca", "/nowhere.pem"], "--ca is /nowhere.pem"),
    ],
)
def test_wrong_options_are_refused_with_the_value_found(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err
