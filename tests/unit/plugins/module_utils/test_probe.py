"""Probes, against real servers on a unix socket, on TCP and on TLS."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import (
    Answer,
    HttpProbe,
    over_tcp,
    over_unix_socket,
)

PROBE = HttpProbe("/healthz/", "amy.example.org", "https", "release-1")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.headers['Host']} {self.headers['X-Forwarded-Proto']} {self.path}".encode()
        self.send_response(200)
        self.send_header("X-Release", "release-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...

    def address_string(self) -> str:
        return "client"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "app.sock"


def assert_answered(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.headers["X-Release"] == "release-1"
    assert answer.body == "amy.example.org https /healthz/"
    assert answer.satisfies("release-1")


def test_a_program_is_asked_over_its_unix_socket_as_the_balancer_would(socket_path: Path) -> None:
    with serving(socketserver.ThreadingUnixStreamServer(str(socket_path), Handler)):
        assert_answered(over_unix_socket(socket_path, PROBE, 5))


def test_nginx_is_asked_over_tcp() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        assert_answered(over_tcp("127.0.0.1", server.server_port, "http", PROBE, 5))


def test_nginx_is_asked_over_tls_by_the_name_of_the_host(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=other.example.org", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        assert_answered(over_tcp("127.0.0.1", server.server_port, "https", PROBE, 5))
    assert names == ["amy.example.org"]


def test_no_answer_says_why(socket_path: Path) -> None:
    answer = over_unix_socket(socket_path, PROBE, 1)
    assert answer.status is None
    assert "No such file" in answer.error
    assert not answer.satisfies("")
    assert str(answer) == (
        f"GET http+unix:{socket_path}:/healthz/ with Host amy.example.org: no answer ({answer.error})"
    )


def test_a_server_that_speaks_no_http_is_no_answer(socket_path: Path) -> None:
    class Mumble(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"mumble\r\n\r\n")

    with serving(socketserver.ThreadingUnixStreamServer(str(socket_path), Mumble)):
        answer = over_unix_socket(socket_path, PROBE, 1)
    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize(
    ("answer", "expect", "good"),
    [
        (Answer("u", "h", 200, {"X": "a r1 b"}, ""), "r1", True),
        (Answer("u", "h", 200, {}, "says r1"), "r1", True),
        (Answer("u", "h", 200, {}, "anything"), "", True),
        (Answer("u", "h", 200, {"r1": "x"}, ""), "r1", False),
        (Answer("u", "h", 500, {"X": "r1"}, "r1"), "r1", False),
        (Answer("u", "h", 302, {}, ""), "", False),
    ],
)
def test_only_status_200_with_the_text_in_a_header_or_the_body_proves(answer: Answer, expect: str, good: bool) -> None:
    assert answer.satisfies(expect) is good


def test_of_a_long_body_only_the_head_is_shown() -> None:
    assert len(str(Answer("u", "h", 500, {}, "x" * 10_000))) < 500
