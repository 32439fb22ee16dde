"""One deploy at a time, whoever asks, whatever is killed, and each remembered once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils import deploy_lock
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_lock import (
    FROZEN,
    HELD,
    KEPT,
    LOST,
    Call,
    Done,
    Lock,
    Owner,
    Place,
    acquire,
    break_lock,
    described,
    freeze,
    look,
    observe,
    one_line,
    release,
    renew,
    seconds,
    stale,
    stamp,
    unfreeze,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files
from hypothesis import given
from hypothesis import strategies as st

NOON = 1_780_000_000.0
ALICE = Owner("alice@laptop", "r1", "here", 4711, "99")
BOB = Owner("bob@ci (GITHUB_RUN_ID 7)", "r2")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "amy.example.org", "ansible-playbook playbooks/unlock.yml -i production")


def at(place: Place, now: float = NOON, **more: Any) -> Call:
    return Call(place, now, **more)


def take(call: Call, owner: Owner, *, expiry: int = 3600, ended: tuple[str, ...] = ()) -> Done:
    return acquire(call, owner, version="v2", reason="deploy", expiry=expiry, ended=ended)


def give(call: Call, owner: Owner, result: str = "success", message: str = "") -> Done:
    return release(call, owner, result=result, message=message)


def results(place: Place) -> list[tuple[str, str]]:
    return [(record.run, record.result) for record in look(place).records()]


def everything(place: Place) -> dict[str, str]:
    return {path.name: path.read_text() for path in place.directory.iterdir()}


def test_a_run_that_has_the_lock_takes_it_again_and_nothing_changes(place: Place) -> None:
    assert take(at(place), ALICE).changed
    before = everything(place)
    again = take(at(place, NOON + 5), ALICE)
    assert not again.changed
    assert again.lock is not None
    assert again.lock.run == "r1"
    assert everything(place) == before


def test_who_is_refused_reads_who_has_it_what_for_since_when_and_how_to_break_it(place: Place) -> None:
    take(at(place), ALICE)
    renew(at(place, NOON + 60), ALICE)
    with pytest.raises(WebappsError) as refused:
        take(at(place, NOON + 90), BOB)
    for word in (
        "alice@laptop", "run r1", "version v2", 'reason "deploy"', f"since {stamp(NOON)}",
        f"last heartbeat {stamp(NOON + 60)} (30 s ago)", "deploy_lock_wait=SECONDS",
        "ansible-playbook playbooks/unlock.yml -i production -e unlock_run=r1",
    ):  # fmt: skip
        assert word in refused.value.message
    assert refused.value.details["refused"] == HELD
    held = look(place).lock
    assert held is not None
    assert asdict(held) == refused.value.details["lock"]


def test_the_files_are_for_root_alone(place: Place) -> None:
    take(at(place), ALICE)
    freeze(at(place), BOB, "workshop week")
    give(at(place), ALICE)
    take(at(place, NOON + 1), ALICE) if unfreeze(at(place)).changed else pytest.fail("was not frozen")
    assert {path.stat().st_mode & 0o777 for path in place.directory.iterdir()} == {0o600}


def test_a_heartbeat_keeps_a_lock_that_would_be_stale(place: Place) -> None:
    take(at(place), ALICE)
    renew(at(place, NOON + 3000), ALICE)
    with pytest.raises(WebappsError, match="is held"):
        take(at(place, NOON + 6000), BOB)


def test_a_stale_lock_is_taken_over_with_a_warning_and_recorded_as_killed(place: Place) -> None:
    take(at(place), ALICE)
    done = take(at(place, NOON + 3601), BOB)
    assert "taken over from alice@laptop" in done.warnings[0]
    assert "longer than its 3600 s" in done.warnings[0]
    assert done.lock is not None
    assert done.lock.run == "r2"
    record = look(place).records()[0]
    # It worked until its last sign of life, as far as anybody knows.
    assert (record.who, record.result, record.ended, record.seconds) == ("alice@laptop", "killed", stamp(NOON), 0)


def test_a_lock_of_a_process_that_its_controller_knows_to_be_gone_is_taken_over_at_once(place: Place) -> None:
    take(at(place), ALICE)
    done = take(at(place, NOON + 1), BOB, ended=("r1",))
    assert "process 4711 of its controller ended" in done.warnings[0]
    assert results(place) == [("r1", "killed")]


def test_a_run_that_lost_its_lock_stops_at_its_next_sign_of_life(place: Place) -> None:
    take(at(place), ALICE)
    take(at(place, NOON + 4000), BOB)
    with pytest.raises(WebappsError, match=r"held by bob@ci .*was killed at .*no heartbeat since") as lost:
        renew(at(place, NOON + 4001), ALICE)
    assert lost.value.details["refused"] == LOST
    give(at(place, NOON + 4002), BOB)
    with pytest.raises(WebappsError, match="nobody holds it"):
        renew(at(place, NOON + 4003), ALICE)


def test_what_is_given_back_late_leaves_the_next_ones_lock_and_the_record_alone(place: Place) -> None:
    take(at(place), ALICE)
    take(at(place, NOON + 4000), BOB)
    before = everything(place)
    done = give(at(place, NOON + 4001), ALICE)
    assert not done.changed
    assert "stays: bob@ci" in done.warnings[0]
    assert "This run's lock was killed" in done.warnings[0]
    assert everything(place) == before


def test_giving_back_records_the_deploy_once_and_never_fails_for_want_of_a_lock(place: Place) -> None:
    assert not give(at(place), ALICE).changed
    take(at(place), ALICE)
    release(at(place, NOON + 300.4), ALICE, result="failed", message="web-1:\nno\x1b[31m answer", release_id="3f2a")
    assert not give(at(place, NOON + 301), ALICE).changed
    record = look(place).records()
    assert [asdict(each) for each in record] == [
        {
            "who": "alice@laptop", "run": "r1", "version": "v2", "release": "3f2a", "began": stamp(NOON),
            "ended": stamp(NOON + 300.4), "seconds": 300, "result": "failed", "message": "web-1: no [31m answer",
        }
    ]  # fmt: skip


def test_one_run_that_deploys_twice_is_recorded_twice(place: Place) -> None:
    for began in (NOON, NOON + 100):
        take(at(place, began), ALICE)
        give(at(place, began + 10), ALICE)
    assert results(place) == [("r1", "success")] * 2


def test_a_missing_directory_is_no_lock_and_is_made_for_who_takes_one(tmp_path: Path) -> None:
    place = Place(tmp_path / "webapps/amy.example.org/deploys", "amy.example.org", "unlock")
    call = at(place)
    for done in (give(call, ALICE), unfreeze(call), observe(call), break_lock(call, BOB, "r1")):
        assert not done.changed
    mask = os.umask(0o077)
    try:
        with deploy_lock.guarded(place, time.monotonic, time.sleep, make=True):
            assert take(call, ALICE).changed
    finally:
        os.umask(mask)
    directories = [place.directory, place.directory.parent, place.directory.parent.parent]
    assert [directory.stat().st_mode & 0o777 for directory in directories] == [0o700, 0o755, 0o755]


def test_a_freeze_refuses_deploys_whatever_the_time_until_it_is_lifted(place: Place) -> None:
    assert freeze(at(place), BOB, "workshop\nweek").changed
    assert not freeze(at(place, NOON + 9), ALICE, "workshop week").changed
    with pytest.raises(WebappsError, match=r"frozen by bob@ci .*: workshop week\. .*lift the freeze: ansible-") as said:
        take(at(place, NOON + 1e8), ALICE)
    assert said.value.details["refused"] == FROZEN
    assert unfreeze(at(place)).changed
    assert not unfreeze(at(place)).changed
    assert take(at(place), ALICE).changed


def test_a_freeze_leaves_the_deploy_that_is_at_work_alone(place: Place) -> None:
    take(at(place), ALICE)
    assert "goes on: alice@laptop" in freeze(at(place), BOB, "workshop week").warnings[0]
    assert not take(at(place, NOON + 1), ALICE).changed
    renew(at(place, NOON + 2), ALICE)
    assert give(at(place, NOON + 3), ALICE).changed
    with pytest.raises(WebappsError, match="frozen"):
        take(at(place, NOON + 4), ALICE)


def test_a_freeze_without_a_reason_is_refused(place: Place) -> None:
    with pytest.raises(WebappsError, match="lock_reason"):
        freeze(at(place), BOB, " \n")


def test_a_freeze_that_cannot_be_read_is_a_freeze(place: Place) -> None:
    place.freeze.write_text("do not deploy!!")
    with pytest.raises(WebappsError, match=r"frozen by somebody .*freeze\.json is there and cannot be read"):
        take(at(place), ALICE)
    assert unfreeze(at(place)).changed


def test_a_lock_is_broken_only_by_the_name_of_its_run(place: Place) -> None:
    take(at(place), ALICE)
    with pytest.raises(WebappsError, match=r'not of run "r9": alice@laptop.*Nothing was broken.*unlock_run=r1'):
        break_lock(at(place), BOB, "r9")
    assert look(place).lock is not None
    assert break_lock(at(place, NOON + 9), BOB, "r1").changed
    assert not break_lock(at(place, NOON + 9), BOB, "r1").changed
    assert [(record.result, record.message) for record in look(place).records()] == [
        ("broken", "broken by bob@ci (GITHUB_RUN_ID 7)")
    ]
    with pytest.raises(WebappsError, match="was broken at"):
        renew(at(place, NOON + 10), ALICE)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"run": "r1"}', "\0\0\0", "a pid: 4711", "[" * 10_000])
def test_a_file_that_is_not_ours_is_told_and_moved_aside_and_never_deleted(place: Place, text: str) -> None:
    place.lock.write_text(text)
    assert str(place.lock) in observe(at(place)).warnings[0]
    done = take(at(place), ALICE)
    assert f"{place.lock} is not a lock" in done.warnings[0]
    aside = [path for path in place.directory.iterdir() if ".foreign-" in path.name]
    assert [path.read_text() for path in aside] == [text]
    assert str(aside[0]) in done.warnings[0]
    give(at(place), ALICE)
    place.lock.write_text("another")
    take(at(place), ALICE)
    assert {path.read_text() for path in place.directory.glob("*.foreign-*")} == {text, "another"}


def test_giving_back_and_breaking_leave_a_file_that_is_not_ours(place: Place) -> None:
    place.lock.write_text("a pid: 4711")
    give(at(place), ALICE)
    break_lock(at(place), BOB, "r1")
    assert place.lock.read_text() == "a pid: 4711"


def test_a_directory_in_the_place_of_the_lock_is_moved_aside(place: Place) -> None:
    place.lock.mkdir()
    assert take(at(place), ALICE).changed


def test_a_heartbeat_in_the_future_counts_and_is_told(place: Place) -> None:
    take(at(place, NOON + 3600), ALICE)
    assert "is in the future" in observe(at(place)).warnings[0]
    with pytest.raises(WebappsError, match=r"3600 s in the future of this host's clock.*check the clock"):
        take(at(place), BOB)


def test_a_clock_that_was_set_back_makes_no_deploy_of_negative_length(place: Place) -> None:
    take(at(place), ALICE)
    give(at(place, NOON - 3600), ALICE)
    assert look(place).records()[0].seconds == 0


def test_the_last_deploys_are_kept_with_lines_that_are_not_ours(place: Place) -> None:
    place.history.write_text("not ours\n")
    for number in range(KEPT - 1):
        take(at(place, NOON + number), replace(ALICE, run=f"r{number}"))
        give(at(place, NOON + number), replace(ALICE, run=f"r{number}"))
    assert place.history.read_text().startswith("not ours\n")
    assert len(look(place).records()) == KEPT - 1
    take(at(place, NOON + KEPT), BOB)
    give(at(place, NOON + KEPT), BOB)
    assert len(place.history.read_text().splitlines()) == KEPT
    assert [look(place).records()[index].run for index in (0, -1)] == ["r0", "r2"]


def wishes(place: Place, **more: Any) -> dict[str, Callable[[], Done]]:
    late = at(place, NOON + 4000, **more)
    return {
        "take": lambda: take(late, BOB, ended=("r1",)),
        "renew": lambda: renew(late, ALICE),
        "release": lambda: give(late, ALICE),
        "break": lambda: break_lock(late, BOB, "r1"),
        "freeze": lambda: freeze(late, BOB, "workshop week"),
    }


@pytest.mark.parametrize("wish", ["take", "renew", "release", "break", "freeze"])
def test_check_mode_says_what_would_change_and_writes_nothing(place: Place, wish: str) -> None:
    take(at(place), ALICE)
    before = everything(place)
    told = wishes(place, check=True)[wish]()
    assert everything(place) == before
    done = wishes(place)[wish]()
    assert (told.changed, told.lock, told.freeze) == (done.changed, done.lock, done.freeze)
    assert (told.before, told.after) == (done.before, done.after)


def test_check_mode_warns_where_a_deploy_is_refused_and_goes_on(place: Place) -> None:
    take(at(place), ALICE)
    done = take(at(place, check=True), BOB)
    assert (done.changed, done.refused) == (False, HELD)
    assert "is held: alice@laptop" in done.warnings[0]
    # Check mode took no lock before.
    assert not renew(at(place, check=True), BOB).changed
    assert not give(at(place, check=True), BOB).warnings
    freeze(at(place), BOB, "workshop week")
    assert take(at(place, check=True), BOB).refused == FROZEN


def test_what_is_returned_names_holder_freeze_and_the_last_deploys(place: Place) -> None:
    take(at(place), BOB)
    give(at(place, NOON + 5), BOB, message="all well")
    take(at(place, NOON + 10), ALICE)
    freeze(at(place, NOON + 11), BOB, "workshop week")
    call = at(place, NOON + 5000)
    told = described(call, observe(call), 5)
    text = "\n".join(told["summary"])
    for word in (
        "is held: alice@laptop",
        "It is stale",
        "unlock_run=r1",
        "frozen by bob@ci",
        "success, 5 s, v2 by bob",
    ):
        assert word in text
    assert (told["lock"]["run"], told["freeze"]["reason"], len(told["history"])) == ("r1", "workshop week", 1)
    assert described(call, observe(call), 0)["history"] == []
    json.dumps(told)


@given(st.text(), st.text(), st.integers(), st.integers(min_value=0, max_value=4_000_000_000_000))
def test_what_is_written_is_what_is_read(text: str, other: str, number: int, milliseconds: int) -> None:
    now = stamp(milliseconds / 1000)
    lock = Lock(one_line(text), one_line(other), "", number, other, text, one_line(text), now, now, 3600)
    assert deploy_lock._parsed(Lock, json.dumps(asdict(lock))) == lock
    assert seconds(now) == pytest.approx(milliseconds / 1000, abs=0.0011)
    assert "\n" not in one_line(text)
    assert len(one_line(text * 50)) <= 300


@given(st.binary(max_size=200))
def test_no_content_of_a_file_makes_reading_fail(content: bytes) -> None:
    text = content.decode(errors="replace")
    for kind in (Lock, deploy_lock.Freeze, deploy_lock.Record):
        deploy_lock._parsed(kind, text)


@given(st.floats(0, 1e5), st.integers(1, 10_000))
def test_a_lock_is_stale_exactly_when_its_heartbeat_is_older_than_its_expiry(age: float, expiry: int) -> None:
    beat = stamp(NOON)
    lock = Lock("a", "r1", "", 0, "", "", "", beat, beat, expiry)
    assert bool(stale(lock, NOON + age)) == (NOON + age - NOON > expiry)


def hurried(seconds: float) -> None:
    """Who waits looks again at once, rather than that the turns become a matter of waiting."""
    time.sleep(seconds / 100)


def contend(places: list[Place], start: Barrier, number: int, won: Any) -> None:
    for turn, place in enumerate(places):
        start.wait()
        with deploy_lock.guarded(place, time.monotonic, hurried), contextlib.suppress(WebappsError):
            if take(at(place, time.time()), Owner(f"user {number}", f"run{number}"), ended=("r1",)).changed:
                won.put((turn, number))


@pytest.mark.parametrize("before", ["nothing", "stale", "over", "foreign"])
def test_of_several_who_want_it_at_once_exactly_one_gets_it(tmp_path: Path, before: str) -> None:
    places = [Place(tmp_path / f"{before}{turn}", "amy.example.org", "unlock") for turn in range(15)]
    for place in places:
        place.directory.mkdir()
        if before in {"stale", "over"}:
            take(at(place, time.time()), ALICE)
        if before == "over":
            text = place.lock.read_text()
            give(at(place, time.time()), ALICE)
            place.lock.write_text(text)
        if before == "foreign":
            place.lock.write_text("{")
    start, won = FORK.Barrier(4, timeout=30), FORK.SimpleQueue()
    # The same four for all turns: starting them takes longer than what is tested.
    processes = [FORK.Process(target=contend, args=(places, start, n, won)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    winners: list[tuple[int, int]] = []
    while not won.empty():
        winners.append(won.get())
    assert [turn for turn, _number in sorted(winners)] == list(range(15))
    for turn, number in winners:
        lock = look(places[turn]).lock
        assert lock is not None
        assert lock.run == f"run{number}"
        assert len(results(places[turn])) == (before in {"stale", "over"})


def test_a_lock_that_appears_behind_the_guards_back_is_not_overwritten(place: Place) -> None:
    class Late(Files):
        def create(self, path: Path, text: str) -> None:
            take(at(place), BOB)
            super().create(path, text)

    with pytest.raises(FileExistsError):
        take(at(place, files=Late()), ALICE)
    lock = look(place).lock
    assert lock is not None
    assert lock.run == "r2"


class Killed(Files):
    """Ends this process, as kill -9 does, at the n-th moment between two system calls that change something."""

    def __init__(self, moment: int) -> None:
        self.moment = moment

    def _tick(self) -> None:
        self.moment -= 1
        if self.moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _made(self, path: Path, text: str, mode: int) -> Path:
        self._tick()
        made = super()._made(path, text, mode)
        self._tick()
        return made

    def write(self, path: Path, text: str, mode: int = 0o600) -> None:
        super().write(path, text, mode)
        self._tick()

    def create(self, path: Path, text: str) -> None:
        made = self._made(path, text, 0o600)
        os.link(made, path)
        self._tick()
        made.unlink()
        self._tick()

    def rename(self, path: Path, name: Path) -> None:
        super().rename(path, name)
        self._tick()

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._tick()


def killed(place: Place, wish: str, moment: int) -> bool:
    """Whether the call was killed: it was not if it has fewer moments."""

    def work() -> None:
        with deploy_lock.guarded(place, time.monotonic, time.sleep):
            wishes(place, files=Killed(moment))[wish]()

    process = FORK.Process(target=work)
    process.start()
    process.join(30)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


@pytest.mark.parametrize("wish", ["take", "renew", "release", "break", "freeze"])
def test_a_call_that_is_killed_anywhere_leaves_a_lock_or_a_record_and_can_be_repeated(
    tmp_path: Path, wish: str
) -> None:
    moments = 0
    for moment in range(1, 20):
        directory = tmp_path / str(moment)
        directory.mkdir()
        place = Place(directory, "amy.example.org", "unlock")
        take(at(place), ALICE)
        if not killed(place, wish, moment):
            break
        moments += 1
        seen = look(place)
        recorded = [run for run, _result in results(place)]
        assert not seen.foreign
        assert (seen.lock is not None and seen.lock.run == "r1") != ("r1" in recorded)
        with deploy_lock.guarded(place, time.monotonic, time.sleep):
            if wish == "renew" or seen.lock is not None or wish != "take":
                wishes(place)[wish]()
            else:
                assert take(at(place, NOON + 4000), BOB).changed
        assert [run for run, _result in results(place)] == ([] if wish in {"renew", "freeze"} else ["r1"])
        assert not list(place.directory.glob(".*.new"))
        holder = look(place).lock
        assert (holder.run if holder else None) == {"take": "r2", "renew": "r1", "freeze": "r1"}.get(wish)
    assert moments >= 3
