"""One run at a time migrates, gives up what it cannot get, and leaves no lock and no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import migration_guard as guard
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import run_attached

HOLDER = (4711, "amy", "psql", "10.0.0.7", "idle in transaction", "2026-05-04 03:02:01+00", "notes_note")
LIMITS = {"lock_timeout": 5, "statement_timeout": 900}
IN_MILLISECONDS = [("lock_timeout", 5000), ("statement_timeout", 900000)]


class Server:
    """Answers the guard's statements. ``free_after``: how often the advisory lock is refused."""

    def __init__(self, free_after: int = 0, held: Sequence[bool] = (True,), blockers: Sequence[Any] = ()) -> None:
        self.free_after, self.held, self.blockers = free_after, list(held), list(blockers)
        self.read_only, self.standby, self.settings = "off", False, IN_MILLISECONDS
        self.said: list[str] = []

    def __call__(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self.said.append(statement)
        if "pg_try_advisory_lock" in statement:
            self.free_after -= 1
            return [(self.free_after < 0,)]
        if statement == guard.STILL_HELD:
            held = self.held.pop(0) if len(self.held) > 1 else self.held[0]
            return [(1,)] if held else []
        return {
            guard.HOLDER: [HOLDER[:-1]],
            guard.IN_THE_WAY: self.blockers,
            guard.END_SESSIONS: [],
        }.get(statement) or ([(self.read_only, self.standby)] if "recovery" in statement else self._rows(statement))

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self.settings) if "pg_settings" in statement else []


class Child:
    """A command that ends after so many looks at it."""

    def __init__(self, looks: int = 2, status: int = 0, errors: str = "") -> None:
        self.looks, self.status, self.errors, self.stopped = looks, status, errors, False

    def poll(self) -> int | None:
        if self.stopped:
            return -9
        self.looks -= 1
        return self.status if self.looks < 0 else None

    def stop(self) -> None:
        self.stopped = True

    def printed(self) -> tuple[str, str]:
        return "", self.errors


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def test_a_lock_that_is_free_is_taken_at_once() -> None:
    passing = Time()
    assert guard.taken(Server(), 0, passing.pause, passing.clock) == (False, None)
    assert passing.pauses == []


def test_a_second_run_fails_at_once_and_names_who_holds_the_lock() -> None:
    passing = Time()
    _waited, refusal = guard.taken(Server(free_after=99), 0, passing.pause, passing.clock)
    assert refusal is not None
    assert refusal["holders"][0]["pid"] == 4711
    assert refusal["holders"][0]["client_address"] == "10.0.0.7"
    assert passing.pauses == []


def test_a_second_run_waits_as_long_as_it_may() -> None:
    passing = Time()
    assert guard.taken(Server(free_after=3), 10, passing.pause, passing.clock) == (True, None)
    assert guard.taken(Server(free_after=99), 10, passing.pause, passing.clock)[1] is not None
    assert passing.now == 13


@pytest.mark.parametrize(("setting", "value"), [("read_only", "on"), ("standby", True)])
def test_a_database_that_takes_no_writes_is_refused(setting: str, value: object) -> None:
    server = Server()
    setattr(server, setting, value)
    refusal = guard.refused(server, LIMITS)
    assert refusal is not None
    assert refusal["kind"] == "read_only"


def test_limits_that_would_not_hold_are_refused() -> None:
    server = Server()
    assert guard.refused(server, LIMITS) is None
    server.settings = [("lock_timeout", 0), ("statement_timeout", 900000)]
    assert guard.refused(server, LIMITS) == {"kind": "limits", "found": {"lock_timeout": 0}}


def test_limits_come_after_what_the_application_has() -> None:
    assert guard.options_with(LIMITS, "-c work_mem=1MB -c lock_timeout=0") == (
        "-c work_mem=1MB -c lock_timeout=0 -c lock_timeout=5s -c statement_timeout=900s"
    )


def test_who_stands_in_the_way_is_noted_while_the_command_waits() -> None:
    made = guard.attempted(Server(blockers=[HOLDER]), lambda: Child(status=1), "name", Time().pause)
    assert made["blockers"][0]["application_name"] == "psql"
    assert made["blockers"][0]["table"] == "notes_note"


def test_a_command_is_stopped_when_the_lock_is_gone() -> None:
    child, server = Child(looks=99), Server(held=[True, False])
    made = guard.attempted(server, lambda: child, "name", Time().pause)
    assert child.stopped
    assert "no longer holds" in made["lost"]
    assert guard.END_SESSIONS in server.said


def test_a_command_is_stopped_with_its_sessions_when_nobody_waits_for_it() -> None:
    def gone(_seconds: float) -> None:
        raise guard.AbandonedError

    child, server = Child(looks=99), Server()
    with pytest.raises(guard.AbandonedError):
        guard.attempted(server, lambda: child, "name", gone)
    assert child.stopped
    assert guard.END_SESSIONS in server.said


def test_sessions_of_a_command_that_was_killed_are_ended() -> None:
    server = Server()
    assert guard.attempted(server, lambda: Child(status=-9), "name", Time().pause)["status"] == -9
    assert guard.END_SESSIONS in server.said


def test_a_command_that_ended_by_itself_is_left_alone() -> None:
    server = Server()
    guard.attempted(server, lambda: Child(status=1), "name", Time().pause)
    assert guard.END_SESSIONS not in server.said


def test_servers_that_can_notice_a_dead_client_are_told_to() -> None:
    assert guard.noticing(Server()) == " -c client_connection_check_interval=1s"
    assert guard.noticing(lambda *_: []) == ""


def attempts_of(*errors: str) -> Callable[[], dict[str, Any]]:
    left = list(errors)

    def attempt() -> dict[str, Any]:
        said = left.pop(0)
        return {"status": 1 if said else 0, "output": "", "errors": said, "lost": None}

    return attempt


def test_locks_are_tried_for_again_after_longer_and_longer_pauses() -> None:
    passing = Time()
    assert len(guard.repeated(attempts_of(*["LockNotAvailable"] * 9), 7, passing.pause)) == 7
    assert passing.pauses == [1, 2, 4, 8, 16, 30]


def test_a_lock_that_is_freed_ends_the_attempts() -> None:
    passing = Time()
    made = guard.repeated(attempts_of("canceling statement due to lock timeout", ""), 5, passing.pause)
    assert [each["status"] for each in made] == [1, 0]


def test_other_failures_are_not_repeated() -> None:
    assert len(guard.repeated(attempts_of("deadlock detected", ""), 5, Time().pause)) == 1


def test_the_key_is_split_as_pg_locks_shows_it() -> None:
    high, low = guard.halves(guard.KEY)
    assert (high << 32) + low == guard.KEY
    assert guard.halves(-1) == (2**32 - 1, 2**32 - 1)


def test_what_the_database_does_not_tell_is_not_guessed() -> None:
    assert guard.difference({"a.1"}, {"a.1", "a.3", "a.2"}) == ["a.2", "a.3"]
    assert guard.difference(None, {"a.1"}) is None


def test_a_command_prints_as_much_as_it_likes_under_its_own_name() -> None:
    script = "import os, sys; print(os.environ['PGAPPNAME'] * 100000); print('bad', file=sys.stderr); sys.exit(3)"
    command = guard.Command([sys.executable, "-c", script], "mine")
    while command.poll() is None:
        time.sleep(0.02)
    output, errors = command.printed()
    assert (command.poll(), output.strip(), errors) == (3, "mine" * 100000, "bad\n")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_command_does_not_outlive_the_guard_that_was_killed(tmp_path: Path) -> None:
    script = (
        f"import sys, time; sys.path[:0] = {sys.path!r}\n"
        f"from {guard.__name__} import Command\n"
        f"child = Command(['sleep', '60'], 'x'); print(child._child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert soon(lambda: not alive(pid))


def test_the_guard_notices_that_the_module_was_killed(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    attached = f"import os, sys; open({str(noted)!r}, 'w').write(str(os.getpid())); sys.stdin.read()"
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"from {run_attached.__module__} import run_attached\n"
        f"run_attached([sys.executable, '-c', {attached!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as module:
        assert soon(lambda: noted.exists() and bool(noted.read_text()))
        pid = int(noted.read_text())
        assert alive(pid)
        module.kill()
    assert soon(lambda: not alive(pid))


def test_a_pause_ends_when_standard_input_does() -> None:
    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        guard.pause(0)
        os.close(writing)
        with pytest.raises(guard.AbandonedError):
            guard.pause(5)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
