# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move an application's keys from one Redis to another, which may hold newer ones of the same application already.

A key is written to the target and then deleted from the source, each in a transaction. The target keeps a note of what
was written of which key, in the same transaction: a call that was killed between the two is completed by the next one,
and what programs took out of the target meanwhile does not come back. Keys go by their type, not by Redis's own dump
format, which an older target cannot read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import RedisRefusalError, Word

# A hash in each database of the target: key to what was written of it, and who began.
NOTE = b"webapps:redis-move"
BEGUN_BY = b"source"
# What processes say of themselves, with a time to live: those of the target say their own.
OF_PROCESSES = (
    "rq:worker:*",
    "rq:workers",
    "rq:workers:*",
    "rq:scheduler_instance:*",
    "rq:scheduler_lock*",
    "rq:scheduler-lock:*",
    "rq:clean_registries:*",
    "rq:cron_scheduler*",
)
# Jobs before the lists that name them.
ORDER = (b"string", b"hash", b"stream", b"set", b"zset", b"list")
ATTEMPTS = 20
POLL = 1.0


class Connection(Protocol):
    """What is needed of a Redis; see redis_client.Client."""

    def command(self, *words: Word) -> Any: ...
    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]: ...


@dataclass(frozen=True)
class Side:
    """One database of one Redis. ``name``: its URL without a secret."""

    connection: Connection
    name: str


@dataclass(frozen=True)
class Counted:
    """What there is of jobs: their number, those that wait in queues, those that are scheduled ahead."""

    jobs: int = 0
    queued: int = 0
    scheduled: int = 0
    failed: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.jobs + other.jobs,
            self.queued + other.queued,
            self.scheduled + other.scheduled,
            self.failed + other.failed,
        )


def data_keys(side: Side, patterns: Sequence[str]) -> list[bytes]:
    """The keys that are data, sorted."""
    found: set[bytes] = set()
    for pattern in patterns:
        cursor: Any = 0
        while True:
            cursor, keys = side.connection.command("SCAN", cursor, "MATCH", pattern, "COUNT", 500)
            found.update(keys)
            if int(cursor) == 0:
                break
    return sorted(key for key in found if key != NOTE and not _of_process(key))


def _of_process(key: bytes) -> bool:
    name = key.decode(errors="replace")
    return any(fnmatchcase(name, pattern) for pattern in OF_PROCESSES)


def count(side: Side, patterns: Sequence[str]) -> Counted:
    """Jobs, by RQ's and rq-scheduler's names."""
    total = Counted()
    for key in data_keys(side, patterns):
        if key.startswith(b"rq:job:"):
            total += Counted(jobs=key.count(b":") == 2)
        elif key.startswith(b"rq:queue:"):
            total += Counted(queued=side.connection.command("LLEN", key))
        elif key == b"rq:scheduler:scheduled_jobs" or key.startswith(b"rq:scheduled:"):
            total += Counted(scheduled=side.connection.command("ZCARD", key))
        elif key.startswith(b"rq:failed:"):
            total += Counted(failed=side.connection.command("ZCARD", key))
    return total


def failed_jobs(connection: Connection) -> set[str]:
    """The ids of the jobs in RQ's registries of failed ones."""
    registries = data_keys(Side(connection, ""), ["rq:failed:*"])
    return {job.decode(errors="replace") for key in registries for job in connection.command("ZRANGE", key, 0, -1)}


def same(source: Side, target: Side) -> bool:
    """Whether both are one server; a URL may name it in several ways."""
    return _run_id(source) == _run_id(target)


def _run_id(side: Side) -> bytes:
    lines: list[bytes] = side.connection.command("INFO", "server").split(b"\r\n")
    return next((line for line in lines if line.startswith(b"run_id:")), b"")


def assert_may_move(source: Side, target: Side, patterns: Sequence[str], *, merge: bool) -> None:
    """Refuse a target with jobs that are not there by an earlier call. Raises WebappsError."""
    if merge or begun(source, target) or not data_keys(source, patterns):
        return
    foreign = data_keys(target, patterns)
    if foreign:
        names = b", ".join(foreign[:3]).decode(errors="replace")
        raise WebappsError(
            f"{target.name} holds {len(foreign)} keys already ({names}{', ...' if len(foreign) > 3 else ''}), which no "
            f"move from {source.name} brought there. If they belong to this application, run again with "
            "-e redis_move_merge=true: keys of both are kept, the target's where both have one. If not, take another "
            "database"
        )


def begun(source: Side, target: Side) -> bool:
    """Whether a move between these two is under way."""
    return bool(target.connection.command("HGET", NOTE, BEGUN_BY) == source.name.encode())


def begin(source: Side, target: Side) -> None:
    """Note in the target who moves, before programs write to it: from now on its keys are the application's."""
    target.connection.command("HSET", NOTE, BEGUN_BY, source.name)


def await_unused(
    source: Side, database: int, patience: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Wait until no program is connected to the source's database. Raises WebappsError that names those."""
    deadline = clock() + patience
    while others := connected(source, database):
        if clock() >= deadline:
            raise WebappsError(
                f"{source.name} is still in use, after {patience:.0f} s: {'; '.join(others[:5])}. What these write "
                "would be left behind. Nothing was moved. Stop them (workers of a host that left the inventory, a "
                "shell), then run this again"
            )
        sleep(POLL)


def connected(source: Side, database: int) -> list[str]:
    """The programs besides this one that are connected to the source's database. Raises WebappsError."""
    try:
        mine, clients = source.connection.command("CLIENT", "ID"), source.connection.command("CLIENT", "LIST")
    except RedisRefusalError as error:
        raise WebappsError(
            f"{source.name} does not say who is connected: {error}. The user of its URL needs the rights that the "
            "redis role gives"
        ) from error
    found = []
    for line in clients.decode(errors="replace").splitlines():
        facts = dict(word.partition("=")[::2] for word in line.split(" "))
        if facts.get("id") == str(mine) or facts.get("db") != str(database) or set("SM") & set(facts.get("flags", "")):
            continue
        found.append(f"{facts.get('addr')} {facts.get('name')} (last command {facts.get('cmd')})")
    return found


def move(source: Side, target: Side, patterns: Sequence[str]) -> int:
    """Move all data; returns the number of keys. What is deleted from the source is in the target.

    Raises WebappsError.
    """
    moved = 0
    for key in _in_order(source, data_keys(source, patterns)):
        _move_key(source, target, key)
        moved += 1
    left = data_keys(source, patterns)
    if left:
        raise WebappsError(
            f"{source.name} got {len(left)} new keys while others were moved, "
            f"{left[0].decode(errors='replace')} for one: a program still writes there. Stop it, then run this again"
        )
    return moved


def finish(target: Side) -> None:
    """Forget in the target that there was a move: from now on its keys are like any others."""
    target.connection.command("DEL", NOTE)


def _in_order(side: Side, keys: Sequence[bytes]) -> Iterator[bytes]:
    kinds = dict(zip(keys, side.connection.pipeline([("TYPE", key) for key in keys]), strict=True))
    return iter(sorted(keys, key=lambda key: (ORDER.index(kinds[key]) if kinds[key] in ORDER else len(ORDER), key)))


def _move_key(source: Side, target: Side, key: bytes) -> None:
    for _attempt in range(ATTEMPTS):
        _answers(source, key, [("WATCH", key)])
        content = _read(source, key)
        # None: it expired.
        if content is not None:
            _write(target, key, content)
        _multi, *_queued, done = _answers(source, key, [("MULTI",), ("DEL", key), ("EXEC",)])
        if done is not None:
            target.connection.command("HDEL", NOTE, key)
            return
    raise WebappsError(
        f"{key.decode(errors='replace')} in {source.name} changes all the time: a program still writes there. Stop it, "
        "then run this again"
    )


@dataclass(frozen=True)
class _Content:
    """A key's value as a list of members, whatever its type. ``ttl``: milliseconds, negative for none."""

    kind: bytes
    members: list[tuple[bytes, ...]]
    ttl: int


def _read(side: Side, key: bytes) -> _Content | None:
    kind, ttl = _answers(side, key, [("TYPE", key), ("PTTL", key)])
    if kind == b"none":
        return None
    readers: dict[bytes, tuple[Word, ...]] = {
        b"string": ("GET", key),
        b"hash": ("HGETALL", key),
        b"list": ("LRANGE", key, 0, -1),
        b"set": ("SMEMBERS", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        b"stream": ("XRANGE", key, "-", "+"),
    }
    if kind not in readers:
        raise WebappsError(
            f"{key.decode(errors='replace')} in {side.name} is of type {kind.decode()}, which RQ does not use and this "
            "does not move: leave it out with redis_move_keys"
        )
    (value,) = _answers(side, key, [readers[kind]])
    if value is None:
        return None
    members: list[tuple[bytes, ...]]
    if kind == b"string":
        members = [(value,)]
    elif kind in {b"hash", b"zset"}:
        members = list(zip(value[::2], value[1::2], strict=True))
    elif kind == b"stream":
        members = [(number, *fields) for number, fields in value]
    else:
        members = [(member,) for member in value]
    return _Content(kind, members, ttl)


def _write(target: Side, key: bytes, content: _Content) -> None:
    """Bring a key's members into the target, unless an earlier call did."""
    for _attempt in range(ATTEMPTS):
        _answers(target, key, [("WATCH", key, NOTE)])
        kind, noted = _answers(target, key, [("TYPE", key), ("HGET", NOTE, key)])
        written = set((noted or b"").split())
        members = [member for member in content.members if _digest(member) not in written]
        exists = kind != b"none"
        if exists and kind != content.kind:
            _answers(target, key, [("UNWATCH",)])
            raise WebappsError(
                f"{key.decode(errors='replace')} is of type {content.kind.decode()} in the source and {kind.decode()} "
                f"in {target.name}: they belong to different programs. Take another database"
            )
        commands = list(_commands(target, key, content.kind, members, exists=exists))
        if commands and content.ttl > 0 and not exists:
            commands.append(("PEXPIRE", key, content.ttl))
        commands.append(("HSET", NOTE, key, b" ".join(_digest(member) for member in content.members)))
        answers = _answers(target, key, [("MULTI",), *commands, ("EXEC",)])
        if answers[-1] is not None:
            refused = next((each for each in answers[-1] if isinstance(each, RedisRefusalError)), None)
            if refused:
                raise WebappsError(f"{target.name} refuses {key.decode(errors='replace')}: {refused}")
            return
    raise WebappsError(
        f"{key.decode(errors='replace')} in {target.name} changes all the time: stop the workers, then run this again"
    )


def _commands(
    target: Side, key: bytes, kind: bytes, members: list[tuple[bytes, ...]], *, exists: bool
) -> Iterator[tuple[Word, ...]]:
    if not members:
        return
    if kind == b"set":
        yield ("SADD", key, *(member for (member,) in members))
    elif kind == b"zset":
        yield ("ZADD", key, "NX", *(word for member, score in members for word in (score, member)))
    elif kind == b"list":
        there = set(target.connection.command("LRANGE", key, 0, -1))
        # Older than what is there: in front of it, in their order.
        missing = [member for (member,) in members if member not in there]
        if missing:
            yield ("LPUSH", key, *reversed(missing))
    elif not exists:
        # One whole: the target's own is newer.
        if kind == b"string":
            yield ("SET", key, members[0][0])
        elif kind == b"hash":
            yield ("HSET", key, *(word for pair in members for word in pair))
        else:
            for member in members:
                yield ("XADD", key, *member)


def _digest(member: tuple[bytes, ...]) -> bytes:
    return hashlib.sha256(b"\0".join(member)).hexdigest()[:16].encode()


def _answers(side: Side, key: bytes, commands: Sequence[Sequence[Word]]) -> list[Any]:
    answers = side.connection.pipeline(commands)
    refused = next((each for each in answers if isinstance(each, RedisRefusalError)), None)
    if refused:
        raise WebappsError(
            f"{side.name} refuses to move {key.decode(errors='replace')}: {refused}. The user of its URL needs the "
            "rights that the redis role gives"
        )
    return answers
