"""Moving jobs between two Redises, killed at every command."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import redis_move
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_move import NOTE, Counted, Side

from tests.unit.plugins.fake_redis import FakeRedis, Killed, Stream, Zset

PATTERNS = ["rq:*"]


def old() -> FakeRedis:
    """Jobs that wait and jobs that are scheduled, a result, a cache, and a worker's registration."""
    redis = FakeRedis("old")
    redis.data = {
        b"rq:job:1": {b"data": b"\x00one", b"status": b"queued"},
        b"rq:job:2": {b"data": b"two"},
        b"rq:job:3": {b"data": b"three"},
        b"rq:queue:default": [b"1", b"2"],
        b"rq:queues": {b"rq:queue:default"},
        b"rq:scheduler:scheduled_jobs": Zset({b"3": b"1800000000"}),
        b"rq:failed:default": Zset({b"9": b"5"}),
        b"rq:results:1": Stream([(b"1-0", b"type", b"1"), (b"2-0", b"type", b"2")]),
        b"rq:job:1:dependents": {b"2"},
        b"rq:worker:a": {b"birth": b"now"},
        b"cache:1": b"page",
    }
    redis.ttl = {b"rq:results:1": 9000}
    return redis


def new() -> FakeRedis:
    """What web processes have put there meanwhile."""
    redis = FakeRedis("new")
    redis.data = {
        b"rq:job:4": {b"data": b"four"},
        b"rq:queue:default": [b"4"],
        b"rq:queues": {b"rq:queue:default", b"rq:queue:mail"},
    }
    return redis


MERGED = {
    b"rq:job:1": {b"data": b"\x00one", b"status": b"queued"},
    b"rq:job:2": {b"data": b"two"},
    b"rq:job:3": {b"data": b"three"},
    b"rq:job:4": {b"data": b"four"},
    b"rq:queue:default": [b"1", b"2", b"4"],
    b"rq:queues": {b"rq:queue:default", b"rq:queue:mail"},
    b"rq:scheduler:scheduled_jobs": Zset({b"3": b"1800000000"}),
    b"rq:failed:default": Zset({b"9": b"5"}),
    b"rq:results:1": Stream([(b"1-0", b"type", b"1"), (b"2-0", b"type", b"2")]),
    b"rq:job:1:dependents": {b"2"},
}


def move(source: FakeRedis, target: FakeRedis, *, merge: bool = False, last: bool = True) -> int:
    """A call of the whole, as the module makes it."""
    ends = Side(source, "redis://old/0"), Side(target, "redis://new/0")
    redis_move.assert_may_move(*ends, PATTERNS, merge=merge)
    moved = redis_move.move(*ends, PATTERNS)
    if last:
        redis_move.finish(ends[1])
    return moved


def begin(source: FakeRedis, target: FakeRedis) -> None:
    redis_move.begin(Side(source, "redis://old/0"), Side(target, "redis://new/0"))


def test_jobs_are_merged_older_ones_first_and_caches_and_registrations_stay() -> None:
    source, target = old(), new()
    begin(source, target)
    assert move(source, target) == 9
    assert target.data == MERGED
    assert target.ttl == {b"rq:results:1": 9000}
    assert set(source.data) == {b"rq:worker:a", b"cache:1"}
    assert move(source, target) == 0


@pytest.mark.parametrize("end", ["source", "target"])
def test_killed_at_any_command_the_next_call_completes_it(end: str) -> None:
    whole = old(), new()
    begin(*whole)
    move(*whole)
    for command in range(1, whole[end == "target"].commands + 1):
        source, target = old(), new()
        begin(source, target)
        (source if end == "source" else target).kill_at = command
        with contextlib.suppress(Killed):
            move(source, target)
        source.die()
        target.die()
        move(source, target)
        assert target.data == MERGED, command
        assert set(source.data) == {b"rq:worker:a", b"cache:1"}


def test_what_workers_took_out_after_a_killed_call_does_not_come_back() -> None:
    """Somebody deployed instead of moving again: workers ran what had arrived already."""
    whole = old(), new()
    begin(*whole)
    move(*whole)
    for command in range(1, whole[0].commands + 1):
        source, target = old(), new()
        begin(source, target)
        source.kill_at = command
        with contextlib.suppress(Killed):
            move(source, target)
        source.die()
        target.die()
        ran = [job for job in target.data.get(b"rq:queue:default", []) if job in {b"1", b"2"}]
        target.data.pop(b"rq:queue:default", None)
        due = list(target.data.pop(b"rq:scheduler:scheduled_jobs", {}))
        move(source, target)
        assert not set(target.data.get(b"rq:queue:default", [])) & set(ran), command
        assert set(target.data.get(b"rq:scheduler:scheduled_jobs", {})) == {b"3"} - set(due)
        assert not {b"1", b"2"} - set(ran) - set(target.data.get(b"rq:queue:default", []))


def test_a_job_that_is_in_both_stays_as_it_is_in_the_target() -> None:
    source, target = old(), new()
    target.data[b"rq:job:3"] = {b"data": b"newer"}
    target.data[b"rq:scheduler:scheduled_jobs"] = Zset({b"3": b"1900000000"})
    move(source, target, merge=True)
    assert target.data[b"rq:job:3"] == {b"data": b"newer"}
    assert target.data[b"rq:scheduler:scheduled_jobs"] == {b"3": b"1900000000"}


def test_jobs_of_others_in_the_target_are_refused_unless_told() -> None:
    with pytest.raises(WebappsError, match=r"holds 3 keys already \(rq:job:4, .*redis_move_merge=true"):
        move(old(), new())
    move(old(), new(), merge=True)


def test_a_target_is_not_refused_for_what_an_earlier_call_brought() -> None:
    source, target = old(), FakeRedis("new")
    move(source, target)
    move(source, target)


def test_a_program_that_still_writes_to_the_source_is_an_error() -> None:
    source, target = old(), FakeRedis("new")
    delete = source._del

    def and_enqueue(key: bytes) -> int:
        source.data[b"rq:job:late"] = {b"data": b"x"}
        return delete(key)

    source._del = and_enqueue  # type: ignore[method-assign]
    with pytest.raises(WebappsError, match="got 1 new keys while others were moved, rq:job:late for one"):
        move(source, target)


def test_another_type_under_the_same_name_is_an_error() -> None:
    with pytest.raises(WebappsError, match="rq:queues is of type set in the source and string in redis://new/0"):
        move(old(), FakeRedis("new", **{"rq:queues": b"x"}), merge=True)


def test_a_source_in_use_is_waited_for_and_then_refused_by_name() -> None:
    source, now = old(), [0.0]
    side = Side(source, "redis://old/0")
    source.clients = [
        "id=9 addr=10.0.1.11:4 name=web db=0 flags=N cmd=rpush",
        "id=10 addr=10.0.1.12:4 name= db=2 flags=N cmd=get",
        "id=11 addr=10.0.1.13:4 name= db=0 flags=S cmd=replconf",
    ]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(WebappsError, match=r"in use, after 5 s: 10\.0\.1\.11:4 web \(last command rpush\)\. What"):
        redis_move.await_unused(side, 0, 5, lambda: now[0], sleep)
    assert redis_move.connected(side, 0) == ["10.0.1.11:4 web (last command rpush)"]
    source.clients = source.clients[1:]
    redis_move.await_unused(side, 0, 5, lambda: now[0], sleep)


def test_what_is_there_is_counted() -> None:
    assert redis_move.count(Side(old(), "old"), PATTERNS) == Counted(jobs=3, queued=2, scheduled=1, failed=1)


def test_one_server_under_two_names_is_recognised() -> None:
    one = FakeRedis("same")
    assert redis_move.same(Side(one, "redis://127.0.0.1/0"), Side(one, "redis://10.0.1.21/0"))
    assert not redis_move.same(Side(old(), "a"), Side(new(), "b"))


def test_what_a_scheduled_command_enqueues_late_is_moved_by_another_call() -> None:
    source, target = old(), new()
    begin(source, target)
    move(source, target, last=False)
    source.data[b"rq:job:5"] = {b"data": b"five"}
    source.data[b"rq:queue:default"] = [b"5"]
    # As the application's keys are in the target by now, only the note tells a second call that they may be.
    assert move(source, target) == 2
    assert target.data[b"rq:queue:default"] == [b"5", b"1", b"2", b"4"]


def test_nothing_of_the_move_is_left_in_the_target() -> None:
    source, target = old(), new()
    begin(source, target)
    move(source, target, last=False)
    assert target.data[NOTE] == {b"source": b"redis://old/0"}
    move(source, target)
    assert NOTE not in target.data
