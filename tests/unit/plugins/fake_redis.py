"""A Redis in memory with the few commands that moving keys takes, which may kill its caller at any command."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import RedisRefusalError, Word


class Killed(BaseException):
    """The call was killed."""


KINDS = {bytes: b"string", dict: b"hash", list: b"list", set: b"set"}


class Zset(dict[bytes, bytes]):
    """Member to score."""


class Stream(list[tuple[bytes, ...]]):
    """Entries: a number, then fields and values."""


class FakeRedis:
    """``kill_at``: the caller is killed before that command."""

    def __init__(self, run_id: str, **values: Any) -> None:
        self.run_id = run_id
        self.data: dict[bytes, Any] = {name.encode(): value for name, value in values.items()}
        self.ttl: dict[bytes, int] = {}
        self.commands = 0
        self.kill_at: int | None = None
        self.watched: dict[bytes, object] = {}
        self.queued: list[Sequence[Word]] | None = None
        self.clients: list[str] = []

    def command(self, *words: Word) -> Any:
        (answer,) = self.pipeline([words])
        if isinstance(answer, RedisRefusalError):
            raise answer
        return answer

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        return [self._one(words) for words in commands]

    def die(self) -> None:
        """The connection is gone, and with it what was not executed."""
        self.kill_at, self.queued, self.watched = None, None, {}

    def _one(self, words: Sequence[Word]) -> Any:
        self.commands += 1
        if self.commands == self.kill_at:
            raise Killed
        name = str(words[0])
        if name == "EXEC":
            queued, self.queued = self.queued or [], None
            stale = any(repr(self.data.get(key)) != seen for key, seen in self.watched.items())
            self.watched = {}
            return None if stale else [self._do(each) for each in queued]
        if self.queued is not None:
            self.queued.append(words)
            return b"QUEUED"
        if name == "MULTI":
            self.queued = []
            return b"OK"
        return self._do(words)

    def _do(self, words: Sequence[Word]) -> Any:
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words[1:]]
        return getattr(self, f"_{str(words[0]).lower()}")(*encoded)

    def _watch(self, *keys: bytes) -> bytes:
        self.watched |= {key: repr(self.data.get(key)) for key in keys}
        return b"OK"

    def _unwatch(self) -> bytes:
        self.watched = {}
        return b"OK"

    def _scan(self, _cursor: bytes, _match: bytes, pattern: bytes, *_count: bytes) -> list[Any]:
        return [b"0", [key for key in self.data if fnmatchcase(key.decode(), pattern.decode())]]

    def _type(self, key: bytes) -> bytes:
        value = self.data.get(key)
        if isinstance(value, Zset):
            return b"zset"
        if isinstance(value, Stream):
            return b"stream"
        return b"none" if value is None else KINDS[type(value)]

    def _pttl(self, key: bytes) -> int:
        return self.ttl.get(key, -1)

    def _pexpire(self, key: bytes, milliseconds: bytes) -> int:
        self.ttl[key] = int(milliseconds)
        return 1

    def _del(self, key: bytes) -> int:
        return int(self.data.pop(key, None) is not None)

    def _get(self, key: bytes) -> Any:
        return self.data.get(key)

    def _set(self, key: bytes, value: bytes) -> bytes:
        self.data[key] = value
        return b"OK"

    def _hget(self, key: bytes, field: bytes) -> Any:
        return self.data.get(key, {}).get(field)

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [word for pair in self.data.get(key, {}).items() for word in pair]

    def _hset(self, key: bytes, *words: bytes) -> int:
        self.data[key] = {**self.data.get(key, {}), **dict(zip(words[::2], words[1::2], strict=True))}
        return 1

    def _hdel(self, key: bytes, field: bytes) -> int:
        return int(self.data.get(key, {}).pop(field, None) is not None)

    def _lrange(self, key: bytes, _first: bytes, _last: bytes) -> list[bytes]:
        return list(self.data.get(key, []))

    def _llen(self, key: bytes) -> int:
        return len(self.data.get(key, []))

    def _lpush(self, key: bytes, *members: bytes) -> int:
        self.data[key] = [*reversed(members), *self.data.get(key, [])]
        return 1

    def _smembers(self, key: bytes) -> list[bytes]:
        return sorted(self.data.get(key, set()))

    def _sadd(self, key: bytes, *members: bytes) -> int:
        self.data[key] = self.data.get(key, set()) | set(members)
        return 1

    def _zrange(self, key: bytes, *_words: bytes) -> list[bytes]:
        return [word for pair in self.data.get(key, {}).items() for word in pair]

    def _zcard(self, key: bytes) -> int:
        return len(self.data.get(key, {}))

    def _zadd(self, key: bytes, _nx: bytes, *words: bytes) -> int:
        self.data[key] = Zset({**dict(zip(words[1::2], words[::2], strict=True)), **self.data.get(key, {})})
        return 1

    def _xrange(self, key: bytes, *_words: bytes) -> list[Any]:
        return [[number, list(fields)] for number, *fields in self.data.get(key, [])]

    def _xadd(self, key: bytes, *words: bytes) -> bytes:
        self.data[key] = Stream([*self.data.get(key, []), words])
        return words[0]

    def _info(self, _section: bytes) -> bytes:
        return f"# Server\r\nrun_id:{self.run_id}\r\n".encode()

    def _client(self, what: bytes) -> Any:
        return 7 if what == b"ID" else "\n".join(["id=7 addr=a db=0 flags=N", *self.clients]).encode()
