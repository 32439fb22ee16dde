# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy of a fleet at a time: the lock that says whose it is, the freeze, and the history of deploys.

All of it is on the builder and judged by the builder's clock. Whoever writes holds a guard that the kernel frees. A
record in the history ends a lock, whether or not its file was removed already, so there is one moment at which a deploy
is over.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files, alone

RESULTS = ("success", "failed", "rolled_back", "nothing")
# What a lock's own run did not say.
KILLED, BROKEN = "killed", "broken"
HELD, FROZEN = "held", "frozen"
# Of a heartbeat: the lock is another run's, or nobody's.
LOST = "lost"
KEPT = 200
MAX_TEXT = 300
# Seconds that a call waits for another one, which takes milliseconds.
PATIENCE = 30.0


@dataclass(frozen=True)
class Owner:
    """Who asks. ``run``: one run of ansible-playbook, the process ``pid`` that ``started`` on ``controller``."""

    owner: str
    run: str
    controller: str = ""
    pid: int = 0
    started: str = ""


@dataclass(frozen=True)
class Lock:
    """What the file of a held lock says. Times are the builder's, UTC; ``expiry`` is seconds without a heartbeat."""

    owner: str
    run: str
    controller: str
    pid: int
    started: str
    version: str
    reason: str
    acquired_at: str
    heartbeat: str
    expiry: int


@dataclass(frozen=True)
class Freeze:
    """A person's word that nothing is deployed until a person takes it back."""

    owner: str
    reason: str
    frozen_at: str


@dataclass(frozen=True)
class Record:
    """What became of one deploy: a line of the history."""

    who: str
    run: str
    version: str
    release: str
    began: str
    ended: str
    seconds: int
    result: str
    message: str


Known = TypeVar("Known", Lock, Freeze, Record)


@dataclass(frozen=True)
class Place:
    """The files of one fleet's lock, and how a refusal calls what they are about and what breaks it."""

    directory: Path
    domain: str
    unlock: str

    @property
    def lock(self) -> Path:
        return self.directory / "lock.json"

    @property
    def freeze(self) -> Path:
        return self.directory / "freeze.json"

    @property
    def history(self) -> Path:
        return self.directory / "deploys.jsonl"

    @property
    def guard(self) -> Path:
        return self.directory / ".guard"


@dataclass(frozen=True)
class Seen:
    """What is there. ``occupied``: whether the lock has a file; without ``lock`` then, it is over or not ours."""

    occupied: bool = False
    foreign: bool = False
    lock: Lock | None = None
    freeze: Freeze | None = None
    lines: tuple[str, ...] = ()

    def records(self) -> list[Record]:
        """The history, the latest last, without lines that are not ours."""
        found = [_parsed(Record, line) for line in self.lines]
        return [record for record in found if record is not None]


@dataclass(frozen=True)
class Done:
    """What a call did, or would do in check mode. ``refused``: HELD or FROZEN, where check mode goes on."""

    changed: bool = False
    lock: Lock | None = None
    freeze: Freeze | None = None
    warnings: tuple[str, ...] = ()
    refused: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Call:
    """How a call works: on which files, now by the builder's clock, and in check mode without writing."""

    place: Place
    now: float
    check: bool = False
    files: Files = field(default_factory=Files)


@contextmanager
def guarded(
    place: Place, clock: Callable[[], float], sleep: Callable[[float], None], *, make: bool = False
) -> Iterator[None]:
    """Let nobody else write meanwhile. Raises WebappsError when the guard stays taken.

    ``make``: whether to make a directory that is missing. Otherwise there is nothing to guard then.
    """
    if make:
        _make(place.directory)
    if not place.directory.is_dir():
        yield
        return
    with alone(place.guard, PATIENCE, clock, sleep, "call for the deploy lock"):
        yield


def _make(directory: Path) -> None:
    """Make a directory for root alone, and those above it as role app_release makes them."""
    if directory.is_dir():
        return
    for parent in reversed(directory.parents):
        if not parent.is_dir():
            parent.mkdir(exist_ok=True)
            # Whatever the umask is.
            parent.chmod(0o755)
    directory.mkdir(mode=0o700, exist_ok=True)


def look(place: Place) -> Seen:
    """Read all of it. The history comes last, so that a deploy that ends meanwhile is over."""
    text = _read(place.lock)
    lock = None if text is None else _parsed(Lock, text)
    frozen = _read(place.freeze)
    lines = tuple(line for line in (_read(place.history) or "").split("\n") if line.strip())
    seen = Seen(
        occupied=text is not None,
        foreign=text is not None and lock is None,
        freeze=None if frozen is None else _parsed(Freeze, frozen) or _unknown_freeze(place),
        lines=lines,
    )
    over = lock is not None and any(_same(record, lock) for record in seen.records())
    return seen if over else replace(seen, lock=lock)


def acquire(call: Call, owner: Owner, *, version: str, reason: str, expiry: int, ended: Collection[str] = ()) -> Done:
    """Take the lock for a run. ``ended``: runs that the asking controller knows to have ended.

    Raises WebappsError where it is held or deploys are frozen; in check mode that is a warning.
    """
    seen = look(call.place)
    if seen.lock is not None and seen.lock.run == owner.run:
        return Done(lock=seen.lock, freeze=seen.freeze)
    if seen.freeze is not None:
        return _refused(call, seen, FROZEN, frozen_text(call.place, seen.freeze))
    why = "" if seen.lock is None else stale(seen.lock, call.now, ended)
    if seen.lock is not None and not why:
        return _refused(call, seen, HELD, held_text(call.place, seen.lock, call.now))
    now = stamp(call.now)
    taken = Lock(
        **asdict(replace(owner, owner=one_line(owner.owner))),
        version=one_line(version),
        reason=one_line(reason),
        acquired_at=now,
        heartbeat=now,
        expiry=expiry,
    )
    aside = _aside(call)
    warnings = _taken_over(call, seen, why, aside)
    if not call.check:
        if seen.lock is not None:
            _append(call, seen, _record(seen.lock, ended=seen.lock.heartbeat, result=KILLED, message=why))
        if seen.foreign:
            call.files.rename(call.place.lock, aside)
        if seen.occupied and not seen.foreign:
            call.files.write(call.place.lock, _text(taken))
        else:
            call.files.create(call.place.lock, _text(taken))
    return Done(True, taken, seen.freeze, warnings, before=_shown(seen.lock), after=_shown(taken))


def renew(call: Call, owner: Owner) -> Done:
    """Write a heartbeat. Raises WebappsError where the lock is not this run's, but in check mode, which took none."""
    seen = look(call.place)
    if seen.lock is None or seen.lock.run != owner.run:
        if call.check:
            return Done(lock=seen.lock, freeze=seen.freeze)
        raise WebappsError(_lost_text(call, seen, owner.run), refused=LOST)
    renewed = replace(seen.lock, heartbeat=stamp(call.now))
    if not call.check:
        call.files.write(call.place.lock, _text(renewed))
    return Done(renewed != seen.lock, renewed, seen.freeze, before=_shown(seen.lock), after=_shown(renewed))


def release(call: Call, owner: Owner, *, result: str, message: str, release_id: str = "") -> Done:
    """Give the run's own lock back, and record what became of the deploy. Another's lock stays."""
    seen = look(call.place)
    if seen.lock is None:
        return _cleared(call, seen, owner.run)
    if seen.lock.run != owner.run:
        mine = [record for record in seen.records() if record.run == owner.run]
        lost = f" This run's lock was {mine[-1].result}: {mine[-1].message}" if mine else ""
        kept = f"The deploy lock of {call.place.domain} stays: {_who(seen.lock, call.now)}.{lost}"
        return Done(lock=seen.lock, freeze=seen.freeze, warnings=() if call.check else (kept,))
    record = _record(seen.lock, ended=stamp(call.now), result=result, message=message, release_id=release_id)
    return _ended(call, seen, record)


def break_lock(call: Call, owner: Owner, run: str) -> Done:
    """Take the lock from the run that is named, and from no other. Raises WebappsError for another."""
    seen = look(call.place)
    if seen.lock is None:
        return _cleared(call, seen, run)
    if seen.lock.run != run:
        raise WebappsError(
            f'The deploy lock of {call.place.domain} is not of run "{run}": {_who(seen.lock, call.now)}. '
            f"Nothing was broken. To break that one: {call.place.unlock} -e unlock_run={seen.lock.run}"
        )
    message = f"broken by {owner.owner}"
    return _ended(call, seen, _record(seen.lock, ended=stamp(call.now), result=BROKEN, message=message))


def freeze(call: Call, owner: Owner, reason: str) -> Done:
    """Let no deploy begin from now on. One that is at work goes on. Raises WebappsError without a reason."""
    if not one_line(reason):
        raise WebappsError(
            "A freeze needs a reason, which is what everybody reads who wants to deploy, and lock_reason is empty: "
            'say it, for example -e lock_reason="workshop week".'
        )
    seen = look(call.place)
    if seen.freeze is not None and seen.freeze.reason == one_line(reason):
        return Done(lock=seen.lock, freeze=seen.freeze)
    frozen = Freeze(one_line(owner.owner), one_line(reason), stamp(call.now))
    going_on = () if seen.lock is None else (f"A deploy is at work and goes on: {_who(seen.lock, call.now)}.",)
    if not call.check:
        call.files.write(call.place.freeze, _text(frozen))
    return Done(True, seen.lock, frozen, going_on, before=_shown(seen.freeze), after=_shown(frozen))


def unfreeze(call: Call) -> Done:
    """Let deploys begin again."""
    seen = look(call.place)
    if seen.freeze is not None and not call.check:
        call.files.unlink(call.place.freeze)
    return Done(seen.freeze is not None, seen.lock, None, before=_shown(seen.freeze))


def observe(call: Call) -> Done:
    """What is there now, and what is odd about it."""
    seen = look(call.place)
    return Done(lock=seen.lock, freeze=seen.freeze, warnings=_odd(call, seen))


def stale(lock: Lock, now: float, ended: Collection[str] = ()) -> str:
    """Why a lock counts no more; "" while it does. A heartbeat in the future only says that the clock was set."""
    if lock.run in ended:
        return f"process {lock.pid} of its controller ended without giving the lock back"
    if now - seconds(lock.heartbeat) > lock.expiry:
        return f"no heartbeat since {lock.heartbeat}, longer than its {lock.expiry} s"
    return ""


def held_text(place: Place, lock: Lock, now: float) -> str:
    return (
        f"The deploy lock of {place.domain} is held: {_who(lock, now)}. Let that deploy finish, or wait for it with "
        f"-e deploy_lock_wait=SECONDS. If it is dead, break its lock: {place.unlock} -e unlock_run={lock.run}"
    )


def frozen_text(place: Place, frozen: Freeze) -> str:
    return (
        f"Deploys of {place.domain} are frozen by {frozen.owner} since {frozen.frozen_at}: {frozen.reason}. "
        f"When that is over, lift the freeze: {place.unlock}"
    )


def summary(place: Place, seen: Seen, now: float, entries: int, ended: Collection[str] = ()) -> list[str]:
    """What there is to know, for people."""
    lines = [f"Nobody holds the deploy lock of {place.domain}."]
    if seen.lock is not None:
        why = stale(seen.lock, now, ended)
        lines = [f"The deploy lock of {place.domain} is held: {_who(seen.lock, now)}."]
        lines += [f"It is stale, and the next deploy takes it over: {why}."] if why else []
        lines += [f"To break it: {place.unlock} -e unlock_run={seen.lock.run}"]
    if seen.freeze is not None:
        lines.append(frozen_text(place, seen.freeze))
    for record in latest(seen, entries):
        what = " ".join(word for word in (record.version, record.release) if word)
        told = f": {record.message}" if record.message else ""
        lines.append(f"{record.began} {record.result}, {record.seconds} s, {what} by {record.who}{told}")
    return lines


def latest(seen: Seen, entries: int) -> list[Record]:
    """The last records, the latest last."""
    return seen.records()[-entries:] if entries else []


def one_line(text: str) -> str:
    """A text as one line of bounded length, without what a terminal would obey."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(printable.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def stamp(now: float) -> str:
    """A time as people read it. Milliseconds tell two locks of one run apart."""
    moment = datetime.datetime.fromtimestamp(now, tz=datetime.timezone.utc)  # noqa: UP017
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """The time that a text says. Raises ValueError for another text, also for one without a time zone."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment.timestamp()


def _who(lock: Lock, now: float) -> str:
    return (
        f'{lock.owner}, run {lock.run}, version {lock.version or "unknown"}, reason "{lock.reason}", since '
        f"{lock.acquired_at}, last heartbeat {lock.heartbeat} ({_ago(seconds(lock.heartbeat), now)})"
    )


def _ago(then: float, now: float) -> str:
    passed = round(now - then)
    return f"{passed} s ago" if passed >= 0 else f"{-passed} s in the future of this host's clock"


def _refused(call: Call, seen: Seen, refused: str, message: str) -> Done:
    warnings = _odd(call, seen)
    if not call.check:
        said = " ".join([message, *warnings])
        raise WebappsError(said, refused=refused, lock=_described(seen.lock), freeze=_described(seen.freeze))
    return Done(lock=seen.lock, freeze=seen.freeze, warnings=(message, *warnings), refused=refused)


def _taken_over(call: Call, seen: Seen, why: str, aside: Path) -> tuple[str, ...]:
    verb = "would be" if call.check else "is"
    if seen.foreign:
        return (
            f"{call.place.lock} is not a lock that this collection wrote: it {verb} moved to {aside}. Look at it, and "
            "remove it.",
        )
    if seen.lock is not None:
        return (f"A stale deploy lock {verb} taken over from {_who(seen.lock, call.now)}: {why}.",)
    return ()


def _odd(call: Call, seen: Seen) -> tuple[str, ...]:
    if seen.foreign:
        return (
            f"{call.place.lock} is not a lock that this collection wrote, and counts as stale: the next deploy moves "
            "it aside. Or look at it, and remove it.",
        )
    if seen.lock is not None and seconds(seen.lock.heartbeat) > call.now + 1:
        return (
            f"The heartbeat of {seen.lock.owner}, {seen.lock.heartbeat}, is in the future: this host's clock was set "
            f"back, it says {stamp(call.now)}. The lock counts; check the clock.",
        )
    return ()


def _lost_text(call: Call, seen: Seen, run: str) -> str:
    mine = [record for record in seen.records() if record.run == run]
    became = f" It was {mine[-1].result} at {mine[-1].ended}: {mine[-1].message}." if mine else ""
    holder = f"it is held by {_who(seen.lock, call.now)}" if seen.lock is not None else "nobody holds it"
    return (
        f"This run ({run}) does not have the deploy lock of {call.place.domain} any more: {holder}.{became} It stops "
        "here, because another deploy may be at work. When none is, deploy again."
    )


def _ended(call: Call, seen: Seen, record: Record) -> Done:
    if not call.check:
        _append(call, seen, record)
        call.files.unlink(call.place.lock)
    return Done(True, None, seen.freeze, before=_shown(seen.lock))


def _cleared(call: Call, seen: Seen, run: str) -> Done:
    """Remove what a call left that was killed after it had recorded the end of this run."""
    left = _parsed(Lock, _read(call.place.lock) or "")
    mine = left is not None and left.run == run
    if mine and not call.check:
        call.files.unlink(call.place.lock)
    return Done(mine, None, seen.freeze)


def _record(lock: Lock, *, ended: str, result: str, message: str, release_id: str = "") -> Record:
    return Record(
        who=lock.owner,
        run=lock.run,
        version=lock.version,
        release=one_line(release_id),
        began=lock.acquired_at,
        ended=ended,
        # A clock that was set back is no deploy of negative length.
        seconds=max(0, round(seconds(ended) - seconds(lock.acquired_at))),
        result=result,
        message=one_line(message),
    )


def _same(record: Record, lock: Lock) -> bool:
    return (record.run, record.began) == (lock.run, lock.acquired_at)


def _append(call: Call, seen: Seen, record: Record) -> None:
    lines = [*seen.lines, json.dumps(asdict(record), ensure_ascii=False)][-KEPT:]
    call.files.write(call.place.history, "".join(f"{line}\n" for line in lines))


def _aside(call: Call) -> Path:
    """A name beside the lock that nothing has."""
    name = f"{call.place.lock.name}.foreign-{stamp(call.now).replace(':', '')}"
    number, path = 0, call.place.directory / name
    while path.exists():
        number += 1
        path = call.place.directory / f"{name}-{number}"
    return path


def _unknown_freeze(place: Place) -> Freeze:
    # Somebody put it there; who wants to deploy anyway has to say so.
    return Freeze("somebody", f"{place.freeze} is there and cannot be read", "an unknown time")


def _read(path: Path) -> str | None:
    """The text of a file, none if there is no file. What is no text is a text that nobody wrote here."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return ""


def _parsed(kind: type[Known], text: str) -> Known | None:
    """What a text of ours says, none for another text. A later version may have more in it."""
    try:
        found = json.loads(text)
        values = {each.name: found[each.name] for each in fields(kind)}
        wanted = {each.name: int if each.type == "int" else str for each in fields(kind)}
        if any(type(value) is not wanted[name] for name, value in values.items()):
            return None
        for name in ("acquired_at", "heartbeat", "began", "ended", "frozen_at"):
            if name in values:
                seconds(values[name])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return kind(**values)


def _text(known: Lock | Freeze) -> str:
    return json.dumps(asdict(known), indent=2, ensure_ascii=False) + "\n"


def _shown(known: Lock | Freeze | None) -> str:
    return "" if known is None else _text(known)


def _described(known: Lock | Freeze | None) -> dict[str, Any] | None:
    return None if known is None else asdict(known)


def described(call: Call, done: Done, entries: int, ended: Collection[str] = ()) -> dict[str, Any]:
    """What the module returns of a call."""
    seen = look(call.place)
    # In check mode the files say what was, the call what would be.
    shown = replace(seen, lock=done.lock, freeze=done.freeze)
    return {
        "changed": done.changed,
        "lock": _described(done.lock),
        "stale": "" if done.lock is None else stale(done.lock, call.now, ended),
        "freeze": _described(done.freeze),
        "refused": done.refused,
        "history": [asdict(record) for record in latest(seen, entries)],
        "summary": summary(call.place, shown, call.now, entries, ended),
        "diff": {"before": done.before, "after": done.after},
    }
