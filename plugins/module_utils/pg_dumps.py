# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps in a directory: what they are called, what proves them, and which may go.

A proven dump is three files: ``{domain}-{UTC time}.dump``, which gets its name last; beside it ``.sha256``, as
sha256sum reads it, and ``.json``, which says what it was made from and how many rows each table has.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

STAMP = "%Y%m%dT%H%M%SZ"
PARTIAL = ".partial"
SIDECARS = (".sha256", ".json")
# How an archive in pg_dump's custom format begins.
MAGIC = b"PGDMP"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Description:
    """What a dump was made from. ``tables``: the rows of each table, counted in the dump's own snapshot."""

    domain: str
    database: str
    server: str
    server_version: int
    taken: str
    reason: str
    release: str
    size: int
    sha256: str
    tables: Mapping[str, int]
    excluded: Sequence[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Dump:
    """A dump by its path, and when it was taken by its name."""

    path: Path
    taken: datetime

    def sidecar(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @property
    def files(self) -> list[Path]:
        """All of its files, the dump itself first: without it the others are leftovers."""
        return [self.path, *(self.sidecar(suffix) for suffix in SIDECARS)]


@dataclass(frozen=True)
class Retention:
    """Which dumps stay: the newest ``count``, and those younger than ``days``."""

    count: int
    days: int


def name_of(domain: str, taken: datetime) -> str:
    return f"{domain}-{taken.astimezone(UTC).strftime(STAMP)}.dump"


def dump_at(path: Path, domain: str) -> Dump | None:
    """The dump with this path, None for a name that is not the domain's."""
    found = re.fullmatch(re.escape(domain) + r"-(\d{8}T\d{6}Z)\.dump", path.name)
    if not found:
        return None
    try:
        return Dump(path, datetime.strptime(found[1], STAMP).replace(tzinfo=UTC))
    except ValueError:
        return None


def proven(directory: Path, domain: str) -> list[Dump]:
    """The proven dumps of a domain, the newest first."""
    named = (dump_at(path, domain) for path in directory.iterdir())
    dumps = [dump for dump in named if dump and is_proven(dump, domain)]
    return sorted(dumps, key=lambda dump: dump.taken, reverse=True)


def is_proven(dump: Dump, domain: str) -> bool:
    """Whether its proof is beside it and speaks of a file of its size. Its content is not read."""
    try:
        description = described(dump.path)
        return dump.path.stat().st_size == description.size and description.domain == domain
    except (OSError, WebappsError):
        return False


def leftovers(directory: Path, domain: str) -> list[Path]:
    """What a dump that was killed left of itself: files that end like it, or that describe a dump that is not there."""
    found = []
    for path in directory.iterdir():
        whole = path.with_name(path.name.removesuffix(PARTIAL))
        for suffix in SIDECARS:
            whole = whole.with_name(whole.name.removesuffix(suffix))
        if whole == path or not dump_at(whole, domain):
            continue
        if path.name.endswith(PARTIAL) or not whole.exists():
            found.append(path)
    return sorted(found)


def described(path: Path) -> Description:
    """What is written about a dump. Raises WebappsError when that is missing or no description."""
    sidecar = path.with_name(f"{path.name}.json")
    try:
        loaded = json.loads(sidecar.read_text(encoding="utf-8"))
        return Description(**{item.name: loaded[item.name] for item in fields(Description)})
    except FileNotFoundError:
        raise WebappsError(
            f"{path} has no {sidecar.name} beside it, so nothing says what is in it: it was not made by this role, or "
            "was copied without its other files. Copy them too, or restore it by hand with pg_restore."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WebappsError(f"{sidecar} is no description of a dump ({error}): take another dump.") from None


def verified(path: Path, *, domain: str, database: str = "") -> Description:
    """The description of a dump that is whole, and of this application. Raises WebappsError for any other.

    ``database``: the name that its database must have had; "" for any.
    """
    if not path.is_file():
        raise WebappsError(f"There is no dump {path}: name one of those in {path.parent}.")
    size = path.stat().st_size
    if size == 0:
        raise WebappsError(f"{path} is empty (0 bytes): it is no dump. Take another one.")
    description = described(path)
    if description.domain != domain:
        raise WebappsError(
            f"{path} is a foreign dump: it was made of {description.domain}, and this is {domain}. Take a dump of "
            f"{domain}; to restore that one here on purpose, set pg_backup_restore_origin to {description.domain}."
        )
    if database and description.database != database:
        raise WebappsError(
            f'{path} is a foreign dump: it was made of the database "{description.database}", and the application uses '
            f'"{database}". Take a dump of that one, or correct the connection.'
        )
    if size < description.size:
        raise WebappsError(
            f"{path} is truncated: it has {size} bytes, and had {description.size} when it was proven. Take another "
            "one."
        )
    if size != description.size or sha256_of(path) != description.sha256:
        raise WebappsError(
            f"{path} is damaged: its SHA-256 is not {description.sha256}, which it had when it was proven. "
            "Take another one."
        )
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise WebappsError(f"{path} is no archive in pg_dump's custom format: take another one.")
    return description


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def expired(dumps: Iterable[tuple[Dump, str]], retention: Retention, now: datetime) -> list[Dump]:
    """The proven dumps that may go. ``dumps``: each with the reason that it was taken for.

    The newest one never goes, nor the newest that a deploy took: it is what was before the last migrations.
    """
    ordered = sorted(dumps, key=lambda pair: pair[0].taken, reverse=True)
    kept = {dump.path for dump, _reason in ordered[: max(retention.count, 1)]}
    kept |= {dump.path for dump, _reason in ordered if now - dump.taken < timedelta(days=retention.days)}
    kept |= {dump.path for dump in [dump for dump, reason in ordered if reason == "deploy"][:1]}
    return [dump for dump, _reason in ordered if dump.path not in kept]


def prune(directory: Path, domain: str, retention: Retention, now: datetime) -> list[Path]:
    """Remove the dumps that may go, and what killed ones left; nothing else in the directory is touched."""
    gone = leftovers(directory, domain)
    known = [(dump, described(dump.path).reason) for dump in proven(directory, domain)]
    for dump in expired(known, retention, now):
        gone += dump.files
    for path in gone:
        path.unlink(missing_ok=True)
    return gone


def settle(partial: Path, final: Dump, description: Description) -> None:
    """Give a dump that was proven its name, so that it is there with its proof or not at all, whatever dies here."""
    _sync(partial)
    _write(final.sidecar(".json"), description.text())
    _write(final.sidecar(".sha256"), f"{description.sha256}  {final.path.name}\n")
    partial.replace(final.path)
    _sync(final.path.parent)


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def summary(dump: Dump, description: Description) -> dict[str, Any]:
    """What a result says of a dump."""
    return {
        "path": str(dump.path),
        "taken": description.taken,
        "reason": description.reason,
        "release": description.release,
        "database": description.database,
        "size": description.size,
        "sha256": description.sha256,
        "tables": len(description.tables),
        "rows": description.rows,
    }
