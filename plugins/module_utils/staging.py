# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging: an artifact becomes a release on a host, ready to run, without touching traffic."""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as ledgers
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import (
    PARTIAL,
    checked_id,
    discard_build,
    hidden,
    is_complete,
    read_description,
    static_files,
)

# Where a size is not written in the artifact: a virtual environment shrinks to a quarter or a fifth.
UNPACKED_FACTOR = 6
# What stays free on the disk for everything else: bytes.
SPARE_BYTES = 100 * 2**20
CHUNK = 2**20
UNPACKED_SIZE = re.compile(r"Decompressed Size: .*\((\d+) B\)")


@dataclass(frozen=True)
class Artifact:
    """A packed release on this host, and the digest that it must have."""

    path: Path
    sha256: str


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify(artifact: Artifact) -> None:
    """Raises WebappsError for an artifact that is missing or not the one that the builder packed."""
    if not artifact.path.is_file():
        raise WebappsError(
            f"The artifact {artifact.path} is missing: build the release and bring it to this host first."
        )
    found = sha256_of(artifact.path)
    if found != artifact.sha256:
        raise WebappsError(
            f"The artifact {artifact.path} is damaged: its SHA-256 is {found}, the builder packed {artifact.sha256}. "
            "Nothing was unpacked. Deploy again: it is brought anew, by way of the controller (app_release_cache)."
        )


def unpacked_size(run: Run, artifact: Path) -> int:
    """Bytes that an artifact takes when it is unpacked, as its header says or else estimated."""
    found = UNPACKED_SIZE.search(run(["zstd", "--list", "--verbose", str(artifact)]).output)
    return int(found[1]) if found else UNPACKED_FACTOR * artifact.stat().st_size


def check_space(directory: Path, needed: int) -> None:
    """Raises WebappsError when ``needed`` bytes would fill the disk."""
    free = shutil.disk_usage(directory).free
    if free < needed + SPARE_BYTES:
        raise WebappsError(
            f"Unpacking needs {_megabytes(needed)} and leaves {_megabytes(SPARE_BYTES)} spare, but {directory} has "
            f"{_megabytes(free)} free. Make room, or keep fewer releases (app_release_keep)."
        )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"


def unpack(run: Run, layout: Layout, release: str, artifact: Artifact, *, platform: str, group: int) -> Path:
    """Unpack a verified artifact beside its final place, readable by the group and writable by root alone.

    ``platform``: this host's, which must be the builder's. Returns the partial directory. Raises WebappsError.
    """
    partial = hidden(layout, release, PARTIAL)
    if partial.exists():
        shutil.rmtree(partial)
    check_space(layout.releases, unpacked_size(run, artifact.path))
    partial.mkdir(mode=0o700)
    command = ["tar", "--extract", "--zstd", "--no-same-owner", f"--file={artifact.path}", f"--directory={partial}"]
    finished = run(command)
    if finished.status != 0:
        raise WebappsError(f"{artifact.path} cannot be unpacked: {finished.last_words}\nIs the package zstd installed?")
    described = read_description(partial, release)
    if described.platform != platform:
        raise WebappsError(
            f"The release {release} was built on {described.platform} and this host is {platform}, where its compiled "
            "parts need not run: use the same system on the builder and on all hosts."
        )
    protect(partial, group)
    return partial


def protect(tree: Path, group: int) -> None:
    """Give a tree to this process's user and the group: the group may read, and nobody else may do anything."""
    for parent, directories, files in os.walk(tree):
        for path in [Path(parent), *(Path(parent, name) for name in [*directories, *files])]:
            os.chown(path, os.geteuid(), group, follow_symlinks=False)
            if not path.is_symlink():
                runs = path.is_dir() or path.stat().st_mode & 0o111
                path.chmod(0o750 if runs else 0o640)


def missing_static_files(layout: Layout, tree: Path, static_dir: str) -> dict[Path, Path]:
    """Those of a release's static files that `static/` does not have, or has with another content.

    Raises WebappsError for a release whose static files are not what they should be.
    """
    if static_dir and not (tree / static_dir).is_dir():
        raise WebappsError(
            f"The release has no directory {static_dir}, where its static files should be: set app_release_static_dir "
            'to the directory that collectstatic fills, relative to the source, or to "" when there are none.'
        )
    files = static_files(tree, static_dir)
    outside = [str(name) for name, path in files.items() if not path.resolve().is_relative_to(tree.resolve())]
    if outside:
        raise WebappsError(f"Static files of the release are links to what is outside of it: {', '.join(outside[:5])}")
    return {name: source for name, source in files.items() if not _same(source, layout.static / name)}


def _same(source: Path, target: Path) -> bool:
    return target.is_file() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False))


def join_static_files(layout: Layout, files: dict[Path, Path]) -> None:
    """Put static files into `static/`, each at once and whole. What other releases brought stays."""
    for name, source in files.items():
        target = layout.static / name
        for parent in reversed([path for path in target.parents if path.is_relative_to(layout.static)]):
            if not parent.is_dir():
                parent.mkdir()
                parent.chmod(0o755)
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            # Another file system, or one without hard links.
            shutil.copyfile(source, temporary)
        temporary.chmod(0o644)
        temporary.replace(target)


@dataclass(frozen=True)
class Staging:
    """What is to be staged: ``group`` may read it, ``platform`` is this host's."""

    release: str
    artifact: Artifact | None
    group: int
    platform: str
    now: str


@dataclass(frozen=True)
class Staged:
    """What staging did or would do. ``unpacked``: whether the artifact was needed."""

    steps: list[str]
    unpacked: bool


def stage(run: Run, layout: Layout, staging: Staging, *, check: bool) -> Staged:
    """Have a release on this host, ready to run, whatever an earlier call left. Raises WebappsError."""
    release = checked_id(staging.release)
    present = is_complete(layout, release)
    steps = [] if present else [f"unpack {layout.release(release)}"]
    if present:
        steps += _join(layout, layout.release(release), release, check=check)
    elif not check:
        steps += _install(run, layout, release, staging)
    elif staging.artifact and staging.artifact.path.exists():
        verify(staging.artifact)
    steps += _record(layout, release, staging.now, check=check)
    return Staged(steps, unpacked=not present)


def _install(run: Run, layout: Layout, release: str, staging: Staging) -> list[str]:
    if staging.artifact is None:
        raise WebappsError(f"The release {release} is not on this host: give its artifact and the artifact's sha256.")
    verify(staging.artifact)
    tree = unpack(run, layout, release, staging.artifact, platform=staging.platform, group=staging.group)
    # Pages of a release ask for its files on any host, so they come before it.
    steps = _join(layout, tree, release, check=False)
    synced = run(["sync", "--file-system", str(tree)])
    if synced.status != 0:
        raise WebappsError(f"{tree} cannot be written to the disk: {synced.last_words}")
    discard_build(layout, release)
    tree.rename(layout.release(release))
    ledgers.sync_directory(layout.releases)
    return steps


def _join(layout: Layout, tree: Path, release: str, *, check: bool) -> list[str]:
    files = missing_static_files(layout, tree, read_description(tree, release).static_dir)
    if not check:
        join_static_files(layout, files)
    return [f"add {len(files)} files to {layout.static}"] if files else []


def _record(layout: Layout, release: str, now: str, *, check: bool) -> list[str]:
    before = ledgers.load(layout.ledger)
    if release in before.releases:
        return []
    if not check:
        described = read_description(layout.release(release), release)
        after = ledgers.record_staged(before, release, version=described.version, commit=described.commit, now=now)
        ledgers.save(layout.ledger, after)
    return [f"record {release} as staged in {layout.ledger}"]
