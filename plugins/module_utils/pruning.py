# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning: what may go from a host, and its removal."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as ledgers
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import RELEASE_ID
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import (
    BUILDING,
    PARTIAL,
    REMOVED,
    complete_releases,
    hidden,
    is_complete,
    linked_environment,
    linked_release,
    read_description,
    static_files,
)

ENVIRONMENT_NAME = re.compile(r"[0-9a-f]{8}|\.[0-9a-f]{8}\.new")
LEFTOVER = re.compile(rf"\.({RELEASE_ID.pattern})\.({PARTIAL}|{REMOVED}|index)")


@dataclass(frozen=True)
class Retention:
    """What stays. ``keep``: good releases besides the live one; ``keep_failed``: bad or never published ones.

    ``releases``, ``environments``, ``artifacts``: by name, whatever the ledger says. ``artifact_directory``: where
    artifacts are on this host.
    """

    keep: int
    keep_failed: int
    releases: Collection[str]
    environments: Collection[str]
    artifacts: Collection[str]
    artifact_directory: Path | None


@dataclass(frozen=True)
class InUse:
    """What a process or a program of supervisor uses: release ids and names of environment files."""

    releases: frozenset[str]
    environments: frozenset[str]


@dataclass(frozen=True)
class Pruning:
    """What goes: releases by id, entries of the ledger without a directory, and paths of everything else."""

    releases: list[str]
    forgotten: list[str]
    leftovers: list[Path]
    static: list[Path]
    environments: list[Path]
    artifacts: list[Path]

    def lines(self, layout: Layout) -> list[str]:
        """One line for each thing that goes, as a diff shows it."""
        return [
            *(str(layout.release(name)) for name in self.releases),
            *(f"{layout.ledger}: {name}" for name in self.forgotten),
            *(str(path) for path in [*self.leftovers, *self.static, *self.environments, *self.artifacts]),
        ]


def in_use(layout: Layout, *, proc: Path, conf_dir: Path) -> InUse:
    """What runs, read from the processes and from supervisor's files of this application."""
    confs = [_text(path) for path in sorted(conf_dir.glob(f"{layout.domain}-*.conf"))]
    within = re.compile(rf"{re.escape(str(layout.releases))}/({RELEASE_ID.pattern})(?![\w-])")
    processes = [text for path in proc.iterdir() if path.name.isdigit() for text in _traces(path)]
    named = [found for text in confs for found in RELEASE_ID.findall(text)]
    environments = [
        found for text in confs for found in re.findall(r"(?:environments/|environment = )([0-9a-f]{8})\b", text)
    ]
    return InUse(
        releases=frozenset([*named, *(found for text in processes for found in within.findall(text))]),
        environments=frozenset(environments),
    )


def _traces(process: Path) -> Iterator[str]:
    """What tells where a process works; it may end at any moment."""
    for name in ("cwd", "exe"):
        try:
            yield str((process / name).readlink())
        except OSError:
            continue
    yield _text(process / "cmdline")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def plan_pruning(layout: Layout, retention: Retention, used: InUse) -> Pruning:
    """What may go from this host. Raises WebappsError for a ledger that cannot be read, before anything is removed."""
    recorded = ledgers.load(layout.ledger)
    present = complete_releases(layout)
    linked = linked_release(layout)
    protected = {*used.releases, *retention.releases, *([linked] if linked else [])}
    removed = ledgers.prunable(
        ledgers.only(recorded, present), keep=retention.keep, keep_failed=retention.keep_failed, protected=protected
    )
    kept = [name for name in present if name not in removed]
    # What a release that stays served well with: a rollback serves with it again.
    served_with = {recorded.releases[name].environment or "" for name in kept if name in recorded.releases}
    return Pruning(
        releases=removed,
        forgotten=[name for name in recorded.releases if name not in present and name not in protected],
        leftovers=_leftovers(layout),
        static=_unused_static_files(layout, kept),
        environments=_unused_environments(layout, {*used.environments, *retention.environments, *served_with}),
        artifacts=_unused_artifacts(retention.artifact_directory, retention.artifacts),
    )


def _leftovers(layout: Layout) -> list[Path]:
    if not layout.releases.is_dir():
        return []
    found = [path for path in sorted(layout.releases.iterdir()) if LEFTOVER.fullmatch(path.name)]
    for mark in sorted(layout.releases.glob(f".*.{BUILDING}")):
        release = mark.name[1:].removesuffix(f".{BUILDING}")
        tree = layout.release(release)
        found += [mark, *([tree] if tree.exists() and not is_complete(layout, release) else [])]
    return found


def _unused_static_files(layout: Layout, kept: Iterable[str]) -> list[Path]:
    needed: set[Path] = set()
    for release in kept:
        tree = layout.release(release)
        needed.update(static_files(tree, read_description(tree, release).static_dir))
    if not needed:
        return []
    found = (path for path in sorted(layout.static.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [path for path in found if path.relative_to(layout.static) not in needed]


def _unused_environments(layout: Layout, used: Collection[str]) -> list[Path]:
    live = linked_environment(layout) or ""
    found = sorted(layout.environments.iterdir()) if layout.environments.is_dir() else []
    ours = [path for path in found if ENVIRONMENT_NAME.fullmatch(path.name)]
    return [path for path in ours if path.name not in {live, *used}]


def _unused_artifacts(directory: Path | None, kept: Collection[str]) -> list[Path]:
    found = sorted(directory.iterdir()) if directory and directory.is_dir() else []
    ours = [(path, re.match(rf"\.?({RELEASE_ID.pattern})\.", path.name)) for path in found]
    return [path for path, named in ours if named and named[1] not in kept]


def prune(layout: Layout, pruning: Pruning) -> None:
    """Remove what was planned, so that a call that is killed leaves nothing that looks like a release."""
    trash = [hidden(layout, release, REMOVED) for release in pruning.releases]
    for release, place in zip(pruning.releases, trash, strict=True):
        layout.release(release).rename(place)
    gone = [*pruning.releases, *pruning.forgotten]
    if gone:
        ledgers.save(layout.ledger, ledgers.forget(ledgers.load(layout.ledger), gone))
    for path in [*trash, *pruning.leftovers, *pruning.static, *pruning.environments, *pruning.artifacts]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if pruning.static:
        _remove_empty_directories(layout.static)


def _remove_empty_directories(top: Path) -> None:
    for path in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
