"""A Redis by its URL: what is read from it, what is said on the wire, and which error names which step."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import (
    Address,
    RedisRefusalError,
    connect,
    information,
    parse_url,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1", Address("127.0.0.1", 6379, 0, "", "", False)),
        ("redis://127.0.0.1:7000/2", Address("127.0.0.1", 7000, 2, "", "", False)),
        ("redis://:p%40ss@10.0.1.21:6379/", Address("10.0.1.21", 6379, 0, "", "p@ss", False)),
        ("rediss://amy:secret@cache.example.org:6379/1", Address("cache.example.org", 6379, 1, "amy", "secret", True)),
    ],
)
def test_a_url_is_read(url: str, address: Address) -> None:
    assert parse_url(url) == address


def test_a_database_may_be_given_instead_of_the_urls() -> None:
    assert parse_url("redis://127.0.0.1/1", 2).database == 2


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it has no scheme"),
        ("http://amy:secret@host/", "it begins with 'http'"),
        ("redis:///0", "it names no host"),
        ("redis://amy:secret@host:port/", "its port or database is no number"),
        ("redis://amy:secret@host/first", "its port or database is no number"),
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str, why: str) -> None:
    with pytest.raises(WebappsError, match=why) as failure:
        parse_url(url)
    assert "secret" not in failure.value.message


def test_an_address_shows_neither_user_nor_password() -> None:
    address = parse_url("rediss://amy:secret@host:6379/1")
    assert str(address) == "rediss://host:6379/1"
    assert "secret" not in repr(address)


class Handler(socketserver.StreamRequestHandler):
    """Answers by the whole command; notes what was said."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _word in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:size])
            said = b" ".join(words).decode()
            self.server.said.append(said)  # type: ignore[attr-defined]
            self.wfile.write(self.server.answers.get(said, b"-ERR unknown command\r\n"))  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[socketserver.TCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.said = []  # type: ignore[attr-defined]
        server.answers = {"PING": b"+PONG\r\n", "INFO": b"$10\r\na:1\r\nb:2:3\r\n"}  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(server: socketserver.TCPServer, **changes: object) -> Address:
    values = {"host": "127.0.0.1", "port": server.server_address[1], "database": 0, "user": "", "password": ""}
    return Address(**{**values, "tls": False, **changes})  # type: ignore[arg-type]


def test_user_password_and_database_are_said_in_this_order(server: socketserver.TCPServer) -> None:
    server.answers |= {"AUTH amy secret": b"+OK\r\n", "SELECT 2": b"+OK\r\n"}  # type: ignore[attr-defined]
    connect(address(server, user="amy", password="secret", database=2)).close()
    assert server.said == ["AUTH amy secret", "PING", "SELECT 2"]  # type: ignore[attr-defined]


def test_every_kind_of_answer_is_read(server: socketserver.TCPServer) -> None:
    server.answers |= {  # type: ignore[attr-defined]
        "A": b"*3\r\n:1\r\n$-1\r\n*2\r\n$2\r\n\x00\n\r\n+x\r\n",
        "B": b"*-1\r\n",
        "C": b"*1\r\n-ERR no\r\n",
    }
    client = connect(address(server))
    assert client.command("A") == [1, None, [b"\x00\n", b"x"]]
    assert client.command("B") is None
    (refused,) = client.command("C")
    assert isinstance(refused, RedisRefusalError)
    with pytest.raises(RedisRefusalError, match="unknown command"):
        client.command("NONSENSE")
    assert information(client)["a"] == "1"
    client.close()


def test_a_wrong_password_is_an_error_without_it(server: socketserver.TCPServer) -> None:
    with pytest.raises(WebappsError, match="does not let user amy in: ERR unknown command") as failure:
        connect(address(server, user="amy", password="secret"))
    assert "secret" not in failure.value.message


def test_a_database_that_is_not_there_is_an_error(server: socketserver.TCPServer) -> None:
    with pytest.raises(WebappsError, match="has no database 99"):
        connect(address(server, database=99))


def test_tls_with_a_server_that_does_not_speak_it_says_so(server: socketserver.TCPServer) -> None:
    with pytest.raises(WebappsError, match="Does that port speak TLS"):
        connect(address(server, tls=True))


def test_a_port_without_server_and_a_name_without_address_are_told_apart() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(WebappsError, match="is not reached from this host"):
            connect(Address("127.0.0.1", free.getsockname()[1], 0, "", "", False))
    with pytest.raises(WebappsError, match=r"The name nowhere\.invalid of redis://nowhere\.invalid:6379/0 is unknown"):
        connect(Address("nowhere.invalid", 6379, 0, "", "", False))


def test_a_server_that_hangs_up_is_an_error(server: socketserver.TCPServer) -> None:
    server.answers["BYE"] = b"$10\r\nabc"  # type: ignore[attr-defined]
    client = connect(address(server))
    client._socket.settimeout(1)
    with pytest.raises(WebappsError, match="stopped answering"):
        client.command("BYE")
    client.close()
