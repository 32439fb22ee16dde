# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of a host: which releases it was given, and how each fared.

Rollback and cleanup ask this file and nothing else. The functions take a ledger and return a ledger; only
:func:`load` and :func:`save` touch the disk. Times are UTC in ISO 8601, passed in, and for people to read:
order comes from ``sequence``, because clocks jump.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

SCHEMA = 1
STAGED, LIVE, GOOD, BAD = STATES = ("staged", "live", "good", "bad")
# A reason fills a table's cell; evidence belongs in the run's output, because this file is world-readable.
MAX_REASON = 200


@dataclass(frozen=True)
class Entry:
    """One release on one host.

    ``state``: one of STATES; at most one release of a ledger is live, and good ones were live before.
    ``version``: the git reference it was asked for by; ``commit``: what that was.
    ``sequence``: the number of the event that last staged it, published it or found it bad, over the whole ledger.
    ``published_at``: when it last became live. ``environment``: the file of environments/ that it last served with.
    ``reason``: why it is bad.
    """

    state: str
    version: str
    commit: str
    sequence: int
    staged_at: str
    published_at: str | None = None
    reason: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Ledger:
    """The releases that a host was given and has not pruned, by release id."""

    releases: Mapping[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "releases", MappingProxyType(dict(self.releases)))


def record_staged(ledger: Ledger, release: str, *, version: str, commit: str, now: str) -> Ledger:
    """Note that a release is on the host. What is known of it already stays: staging proves nothing new."""
    if release in ledger.releases:
        return ledger
    entry = Entry(STAGED, version, commit, _next_sequence(ledger), staged_at=now)
    return _changed(ledger, {release: entry})


def mark_live(ledger: Ledger, release: str, *, now: str, environment: str | None = None) -> Ledger:
    """Note that a release serves, and with which environment; the one that did before becomes good, and may be rolled
    back to.

    Raises WebappsError for a release that is not recorded as staged.
    """
    entry = replace(_known(ledger, release), environment=environment)
    if entry.state == LIVE:
        return ledger if entry == ledger.releases[release] else _changed(ledger, {release: entry})
    live = replace(entry, state=LIVE, sequence=_next_sequence(ledger), published_at=now, reason=None)
    before = live_release(ledger)
    retired = {before: replace(ledger.releases[before], state=GOOD)} if before else {}
    return _changed(ledger, {**retired, release: live})


def mark_bad(ledger: Ledger, release: str, *, reason: str) -> Ledger:
    """Note that a release must not be rolled back to. Of ``reason`` the first line is kept, and no secret may be in it.

    Raises WebappsError for a release that is not recorded as staged.
    """
    entry = _known(ledger, release)
    cause = (reason.strip().splitlines() or ["no reason given"])[0][:MAX_REASON]
    if (entry.state, entry.reason) == (BAD, cause):
        return ledger
    return _changed(ledger, {release: replace(entry, state=BAD, sequence=_next_sequence(ledger), reason=cause)})


def forget(ledger: Ledger, releases: Collection[str]) -> Ledger:
    """The ledger without these releases, for those that are removed from the disk."""
    return only(ledger, set(ledger.releases) - set(releases))


def only(ledger: Ledger, present: Collection[str]) -> Ledger:
    """The ledger's view of these releases alone, for those that are found on the disk."""
    return Ledger({name: entry for name, entry in ledger.releases.items() if name in present})


def live_release(ledger: Ledger) -> str | None:
    """The release that serves, or None before the first publish and after the live one was found bad."""
    return next(iter(_newest_first(ledger, LIVE)), None)


def last_good(ledger: Ledger) -> str | None:
    """The release to roll back to: of those that served well before, the one published last."""
    return next(iter(_newest_first(ledger, GOOD)), None)


def prunable(ledger: Ledger, *, keep: int, protected: Collection[str] = (), keep_failed: int = 1) -> list[str]:
    """The releases that may be removed, oldest first.

    ``keep``: how many good releases stay besides the live one; the last good one always does.
    ``keep_failed``: how many of those stay that are bad or never went live, so that they cannot push out good ones.
    ``protected``: what must stay in any case, such as releases that a process still runs.
    """
    kept = {*_newest_first(ledger, LIVE), *protected}
    kept.update(_newest_first(ledger, GOOD)[: max(keep, 1)])
    kept.update(_newest_first(ledger, BAD, STAGED)[: max(keep_failed, 0)])
    return [name for name in reversed(_newest_first(ledger, *STATES)) if name not in kept]


def load(path: Path) -> Ledger:
    """Read a ledger; none yet is an empty one. Raises WebappsError for a file that is no ledger."""
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Ledger()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WebappsError(
            f"{path} is no ledger of releases ({error}). Look at what it holds; to go on, move it away: every release "
            "is recorded again when it is staged, and until then nothing removes its directory."
        ) from error


def save(path: Path, ledger: Ledger) -> None:
    """Write a ledger so that a reader, or a machine that dies here, sees the old one or the new one."""
    document = {
        "schema": SCHEMA,
        "releases": {
            name: {key: value for key, value in asdict(entry).items() if value is not None}
            for name, entry in sorted(ledger.releases.items(), key=lambda item: item[1].sequence)
        },
    }
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk, as they are now."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _changed(ledger: Ledger, entries: Mapping[str, Entry]) -> Ledger:
    return Ledger({**ledger.releases, **entries})


def _next_sequence(ledger: Ledger) -> int:
    return 1 + max((entry.sequence for entry in ledger.releases.values()), default=0)


def _newest_first(ledger: Ledger, *states: str) -> list[str]:
    found = [(entry.sequence, name) for name, entry in ledger.releases.items() if entry.state in states]
    return [name for _sequence, name in sorted(found, reverse=True)]


def _known(ledger: Ledger, release: str) -> Entry:
    if release not in ledger.releases:
        known = ", ".join(ledger.releases) or "none"
        raise WebappsError(
            f"The release {release} is not in this host's ledger, which knows {known}: "
            "stage it first (module carpentries.webapps.release, state staged)."
        )
    return ledger.releases[release]


def _parsed(document: Any) -> Ledger:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r}, this version of the collection reads {SCHEMA}")
    ledger = Ledger({str(name): _parsed_entry(entry) for name, entry in document["releases"].items()})
    live = _newest_first(ledger, LIVE)
    if len(live) > 1:
        raise ValueError(f"it calls several releases live: {', '.join(live)}")
    return ledger


def _parsed_entry(fields: Mapping[str, Any]) -> Entry:
    entry = Entry(**fields)
    optional = (entry.published_at, entry.reason, entry.environment)
    texts = (entry.version, entry.commit, entry.staged_at, *(text or "" for text in optional))
    if (
        entry.state not in STATES
        or not isinstance(entry.sequence, int)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise ValueError(f"an entry reads {dict(fields)}")
    return entry
