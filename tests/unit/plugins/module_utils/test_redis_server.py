"""No job is lost on the way to an append-only file."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import redis_server
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_server import RedisRefusalError


@dataclass
class FakeRedis:
    """Answers as Redis does; ``rewrites`` is how often it says that it still writes."""

    password: str = ""
    append_only: bool = False
    rewrites: int = 2
    status: str = "ok"
    logged_in: bool = False
    said: list[tuple[str, ...]] = field(default_factory=list)

    def command(self, *words: str) -> str:
        self.said.append(words)
        if words[0] == "AUTH":
            if not self.password or words[1] != self.password:
                raise RedisRefusalError("WRONGPASS invalid username-password pair or user is disabled.")
            self.logged_in = True
            return "OK"
        if self.password and not self.logged_in:
            raise RedisRefusalError("NOAUTH Authentication required.")
        if words[0] == "CONFIG":
            self.append_only = True
            return "OK"
        if words[0] == "INFO":
            busy = self.append_only and self.rewrites > 0
            self.rewrites -= busy
            return (
                f"# Persistence\r\naof_enabled:{int(self.append_only)}\r\naof_rewrite_in_progress:{int(busy)}\r\n"
                f"aof_rewrite_scheduled:0\r\naof_last_bgrewrite_status:{self.status}\r\n"
            )
        return "PONG"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_running_redis_writes_its_file_before_anyone_goes_on() -> None:
    redis, clock = FakeRedis(rewrites=5), Clock()
    redis_server.write_append_only_file(redis, 60, clock, clock.sleep)
    assert redis_server.keeps_append_only_file(redis)
    assert redis.rewrites == 0
    assert redis.said[0] == ("CONFIG", "SET", "appendonly", "yes")


@pytest.mark.parametrize("redis", [FakeRedis(rewrites=10**6), FakeRedis(rewrites=1, status="err")])
def test_a_file_that_does_not_come_is_an_error(redis: FakeRedis) -> None:
    clock = Clock()
    with pytest.raises(WebappsError, match="redis_append_only_timeout"):
        redis_server.write_append_only_file(redis, 60, clock, clock.sleep)
    assert clock.now <= 60


@pytest.mark.parametrize(
    ("actual", "known"), [("", []), ("", ["new"]), ("now", ["now"]), ("before", ["new", "before"])]
)
@pytest.mark.parametrize("user", ["", "amy"])
def test_the_password_in_force_is_found(actual: str, known: list[str], user: str) -> None:
    redis = FakeRedis(password=actual)
    assert redis_server.log_in(redis, known, user)
    assert redis.command("PING") == "PONG"


def test_the_named_user_comes_before_the_default_user() -> None:
    redis = FakeRedis(password="right")
    assert redis_server.log_in(redis, ["wrong", "right"], "amy")
    assert [words[1:] for words in redis.said if words[0] == "AUTH"] == [
        ("amy", "wrong"),
        ("amy", "right"),
        ("wrong",),
        ("right",),
    ]


def test_an_unknown_password_lets_nobody_in() -> None:
    assert not redis_server.log_in(FakeRedis(password="unknown"), ["hunter2"], "amy")


def test_a_password_that_is_being_changed_is_no_hindrance_where_there_is_an_append_only_file(tmp_path: Path) -> None:
    with pytest.raises(WebappsError, match="redis_password"):
        redis_server.assert_append_only_file_exists(tmp_path)
    (tmp_path / "appendonlydir").mkdir()
    redis_server.assert_append_only_file_exists(tmp_path)


def test_the_password_before_is_read_from_the_roles_file() -> None:
    assert redis_server.password_in('# requirepass "no"\nrequirepass "a#b$"\n') == "a#b$"
    assert redis_server.password_in("# nothing\n") == ""


def test_a_stopped_redis_with_a_snapshot_alone_is_not_touched(tmp_path: Path) -> None:
    redis_server.assert_nothing_to_lose(tmp_path)
    (tmp_path / "dump.rdb").touch()
    with pytest.raises(WebappsError, match="systemctl start redis-server"):
        redis_server.assert_nothing_to_lose(tmp_path)
    (tmp_path / "appendonlydir").mkdir()
    redis_server.assert_nothing_to_lose(tmp_path)


ANSWERS = {b"PING": b"+PONG\r\n", b"INFO": b"$8\r\na:1\r\nb:2\r\n", b"DBSIZE": b":42\r\n"}


class Handler(socketserver.StreamRequestHandler):
    """Reads one command after the other and answers by its first word."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = []
            for _word in range(int(line[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:size])
            self.wfile.write(ANSWERS.get(words[0], b"-ERR unknown command\r\n"))


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_answers_are_read_from_a_socket(port: int) -> None:
    connection = redis_server.SocketConnection("127.0.0.1", port)
    assert connection.command("PING") == "PONG"
    assert connection.command("INFO", "persistence") == "a:1\r\nb:2"
    assert connection.command("DBSIZE") == "42"
    with pytest.raises(RedisRefusalError, match="unknown command"):
        connection.command("NONSENSE", "ü")
    connection.close()
