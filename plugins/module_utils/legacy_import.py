# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import a tree that runs as release 0: copied, made to run where it is then, and put in the place of the original.

The original is not changed, because processes run from it. In the end one exchange of names puts the link `repo` where
the directory was, and the directory aside.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import environment
from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as ledgers
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import OTHERS, Aside, Survey
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import (
    DESCRIPTION,
    PARTIAL,
    Description,
    discard_build,
    hidden,
    is_complete,
    read_description,
    static_files,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.staging import (
    CHUNK,
    check_space,
    join_static_files,
    missing_static_files,
    protect,
)

# What a program may write while it runs, and says nothing of what it is.
UNSTABLE = frozenset({"__pycache__", ".git"})
# Files that hold the path of their own environment.
PATH_HOLDERS = (
    ".venv/bin/*",
    ".venv/pyvenv.cfg",
    *(
        f".venv/lib/python*/site-packages/{name}"
        for name in ("*.pth", "*.egg-link", "__editable__*", "*.dist-info/direct_url.json")
    ),
)
MAX_PATH_HOLDER = 2**20
# Seconds to wait for an import that goes on without its controller: it copies the tree.
IMPORT_PATIENCE = 600.0
AT_FDCWD, RENAME_EXCHANGE = -100, 2
VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """Where a tree comes from, as git knows it; all "" for a tree without git."""

    commit: str = ""
    version: str = ""
    repository: str = ""


@dataclass(frozen=True)
class Import:
    """What is asked for. ``static_dir``: where the release has its static files. ``platform``: this host's."""

    group: int
    static_dir: str
    platform: str
    now: str


@dataclass(frozen=True)
class Imported:
    """What importing did or would do. ``variables``: names only."""

    release: str
    environment: str
    variables: list[str]
    steps: list[str]


def exchange(one: Path, other: Path) -> None:
    """Let two names change places in one step: whoever opens either meets one of both things, never nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    if done != 0:
        number = ctypes.get_errno()
        hint = (
            " This file system cannot exchange names; ext4, XFS and Btrfs can."
            if number in {errno.EINVAL, errno.ENOSYS}
            else ""
        )
        raise WebappsError(f"{one} and {other} cannot change places: {os.strerror(number)}.{hint}")


def git_origin(run: Run, tree: Path) -> Origin:
    """What git says of a tree. Tokens in the repository's address are left out."""
    if not (tree / ".git").exists():
        return Origin()

    def ask(*arguments: str) -> str:
        # The tree belongs to somebody else, which git takes for an attack unless it is told.
        finished = run(["git", "-c", f"safe.directory={tree}", "-C", str(tree), *arguments])
        return finished.output.strip() if finished.status == 0 else ""

    address = re.sub(r"(?<=://)[^/@]*@", "", ask("config", "--get", "remote.origin.url"))
    return Origin(ask("rev-parse", "HEAD"), ask("describe", "--tags", "--exact-match"), address)


def content_digest(tree: Path, left_out: Collection[PurePosixPath] = ()) -> str:
    """What is in a tree: names, kinds and contents, without what programs write while they run."""
    digest = hashlib.sha256()
    for path in _stable(tree, left_out):
        digest.update(os.fsencode(path.relative_to(tree)) + b"\0")
        if path.is_symlink():
            digest.update(b"link\0" + os.fsencode(path.readlink()) + b"\0")
            continue
        runs = b"program\0" if path.stat().st_mode & 0o111 else b"file\0"
        digest.update(runs + _file_digest(path))
    return digest.hexdigest()


def _stable(tree: Path, left_out: Collection[PurePosixPath]) -> Iterator[Path]:
    skipped = {tree / name for name in left_out}
    for parent, directories, files in os.walk(tree):
        here = Path(parent)
        directories[:] = sorted(name for name in directories if name not in UNSTABLE and here / name not in skipped)
        linked = [name for name in directories if (here / name).is_symlink()]
        for path in (here / name for name in sorted([*files, *linked])):
            if path not in skipped and (path.is_symlink() or path.is_file()):
                yield path


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.digest()


def release_id(origin: Origin, digest: str) -> str:
    """The id of release 0: as every release's, the commit where there is one, and then what the tree really holds."""
    return f"{(origin.commit or digest)[:10]}-{digest[-8:]}"


def share(layout: Layout, name: PurePosixPath) -> None:
    """Have a directory of the tree in `shared/` and a link in its place: programs find it there at any moment."""
    place, target = layout.repo / name, layout.shared / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists() and not place.is_symlink():
        target.mkdir(exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        return
    if target.is_symlink():
        # Left by an import that was killed right before the exchange.
        target.unlink()
    elif target.is_dir():
        target.rmdir()
    target.symlink_to(target)
    exchange(place, target)


def size_of(tree: Path) -> int:
    return sum(path.lstat().st_size for path in tree.rglob("*"))


def copied(tree: Path, partial: Path, final: Path) -> None:
    """Copy a tree that runs, and have the copy's virtual environment know its own place, ``final``."""
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(tree, partial, symlinks=True, ignore=_sockets)
    for pattern in PATH_HOLDERS:
        for path in sorted(partial.glob(pattern)):
            _rewrite(path, str(tree).encode(), str(final).encode())
    for path in partial.rglob("*"):
        if path.is_symlink() and path.readlink().is_relative_to(tree):
            target = final / path.readlink().relative_to(tree)
            path.unlink()
            path.symlink_to(target)


def _sockets(directory: str, names: list[str]) -> list[str]:
    """What cannot be copied: sockets and pipes of programs."""
    paths = [Path(directory, name) for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_dir() or path.is_file())]


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_PATH_HOLDER:
        return
    content = path.read_bytes()
    changed = re.sub(re.escape(old) + rb"(?![\w.-])", new.replace(b"\\", rb"\\"), content)
    if b"\0" in content or changed == content:
        return
    mode = path.stat().st_mode
    path.write_bytes(changed)
    path.chmod(mode)


def record(aside: Aside) -> dict[str, Any]:
    """What is noted of an adoption; empty before one."""
    try:
        noted: dict[str, Any] = json.loads(aside.record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WebappsError(f"{aside.record} cannot be read ({error}): put it back from a backup.") from error
    return noted


def note(aside: Aside, **entries: object) -> None:
    """Add to what is noted, at once and whole."""
    aside.root.mkdir(mode=0o755, exist_ok=True)
    temporary = aside.record.with_name(f".{aside.record.name}.new")
    text = json.dumps({**record(aside), **entries}, indent=2, sort_keys=True)
    temporary.write_text(f"{text}\n", encoding="utf-8")
    temporary.replace(aside.record)


def import_tree(run: Run, layout: Layout, seen: Survey, asked: Import, *, check: bool) -> Imported:
    """Have the tree that runs as a release of this host, with `repo` as the link to it. Raises WebappsError."""
    return _Importer(run, layout, asked, check=check).carry_out(seen)


class _Importer:
    """One import, each step seen before it is done."""

    def __init__(self, run: Run, layout: Layout, asked: Import, *, check: bool) -> None:
        self.run = run
        self.layout = layout
        self.aside = Aside(layout)
        self.asked = asked
        self.check = check
        self.steps: list[str] = []

    def carry_out(self, seen: Survey) -> Imported:
        noted = record(self.aside)
        if seen.imported:
            release, variables = noted.get("release", ""), noted.get("environment", "")
            if not release:
                release = self.layout.repo.readlink().name
            self._open(seen)
            self._close(seen, release)
            return Imported(release, variables, list(noted.get("variables", [])), self.steps)
        tree = self.layout.repo
        for name in seen.shared:
            if not (tree / name).is_symlink():
                self._step(f"move {tree / name} to {self.layout.shared / name}", partial(share, self.layout, name))
        text = environment.content(seen.variables)
        digest = environment.digest(text)
        origin = git_origin(self.run, tree)
        release = release_id(origin, content_digest(tree, seen.shared))
        names = sorted(seen.variables)
        self._environment(digest, text, names)
        self._release(release, origin, seen)
        self._ledger(release)
        self._set_aside(release, digest, names, seen)
        return Imported(release, digest, names, self.steps)

    def _step(self, text: str, act: Callable[[], None]) -> None:
        self.steps.append(text)
        if not self.check:
            act()

    def _environment(self, digest: str, text: str, names: list[str]) -> None:
        path = self.layout.environments / digest
        if not environment.is_current(path, text, self.asked.group):
            self._step(
                f"write the environment {path} with {', '.join(names) or 'no variables'}",
                lambda: environment.write(path, text, self.asked.group),
            )

    def _release(self, release: str, origin: Origin, seen: Survey) -> None:
        final = self.layout.release(release)
        if not is_complete(self.layout, release):
            size = size_of(self.layout.repo)
            check_space(self.layout.root, size)
            self._step(
                f"copy {self.layout.repo} ({size / 2**20:.0f} MB) to {final}, as release {release}",
                lambda: self._copy(release, origin, seen),
            )
            return
        # Brought by an import that was killed before it came to them.
        described = read_description(final, release)
        files = missing_static_files(self.layout, final, described.static_dir)
        if files:
            self._step(f"add {len(files)} files to {self.layout.static}", lambda: join_static_files(self.layout, files))

    def _copy(self, release: str, origin: Origin, seen: Survey) -> None:
        tree, half = self.layout.repo, hidden(self.layout, release, PARTIAL)
        final = self.layout.release(release)
        copied(tree, half, final)
        static_dir = self._static_dir(half, seen)
        described = Description(
            id=release,
            version=origin.version or "adopted",
            commit=origin.commit or "unknown",
            repository=origin.repository or f"adopted from {tree}",
            python=_python(half),
            platform=self.asked.platform,
            static_dir=static_dir,
        )
        (half / DESCRIPTION).write_text(described.text(), encoding="utf-8")
        protect(half, self.asked.group)
        _let_all_read(half, tree)
        join_static_files(self.layout, missing_static_files(self.layout, half, static_dir))
        if release_id(origin, content_digest(tree, seen.shared)) != release:
            raise WebappsError(f"{tree} changed while it was copied: wait until nobody works on it, then run again.")
        synced = self.run(["sync", "--file-system", str(half)])
        if synced.status != 0:
            raise WebappsError(f"{half} cannot be written to the disk: {synced.last_words}")
        discard_build(self.layout, release)
        half.rename(final)
        ledgers.sync_directory(self.layout.releases)

    def _static_dir(self, partial: Path, seen: Survey) -> str:
        """Where the copy has the static files that nginx serves: in the tree, or brought there from outside."""
        if seen.static is None:
            return self.asked.static_dir if (partial / self.asked.static_dir).is_dir() else ""
        if seen.static.is_relative_to(self.layout.repo):
            return str(seen.static.relative_to(self.layout.repo))
        inside = self.asked.static_dir or "staticfiles"
        if seen.static.is_dir() and not (partial / inside).exists():
            shutil.copytree(seen.static, partial / inside)
        return inside

    def _ledger(self, release: str) -> None:
        known = ledgers.load(self.layout.ledger)
        if release not in known.releases:
            self._step(f"record {release} as staged in {self.layout.ledger}", lambda: self._record(release))

    def _record(self, release: str) -> None:
        described = read_description(self.layout.release(release), release)
        staged = ledgers.record_staged(
            ledgers.load(self.layout.ledger),
            release,
            version=described.version,
            commit=described.commit,
            now=self.asked.now,
        )
        ledgers.save(self.layout.ledger, staged)

    def _set_aside(self, release: str, digest: str, names: list[str], seen: Survey) -> None:
        self._step(
            f"move {self.layout.repo} to {self.aside.repo} and put the link to {release} in its place, in one step",
            lambda: self._exchange(release, digest, names, seen),
        )

    def _exchange(self, release: str, digest: str, names: list[str], seen: Survey) -> None:
        if self.aside.repo.is_symlink():
            # Left by an import that was killed right before the exchange.
            self.aside.repo.unlink()
        if self.aside.repo.exists():
            raise WebappsError(f"{self.aside.repo} is there already, from another adoption: move it away.")
        owner = self.layout.repo.stat()
        note(
            self.aside,
            release=release,
            environment=digest,
            variables=names,
            adopted_at=self.asked.now,
            owner=f"{owner.st_uid}:{owner.st_gid}",
            users=sorted({process.user for process in seen.processes}),
        )
        # nginx has static files from `repo` until it is reloaded, and programs may run as anybody.
        self.layout.releases.chmod(0o750 | OTHERS)
        # Relative to the root, where it will be.
        self.aside.repo.symlink_to(f"{self.layout.releases.name}/{release}")
        exchange(self.layout.repo, self.aside.repo)
        ledgers.sync_directory(self.layout.root)

    def _open(self, seen: Survey) -> None:
        """Let others in again, where a run beside an import that had lost its controller shut them out."""
        if not seen.opened and (seen.programs or seen.site is not None):
            self._step(
                f"let others pass through {self.layout.releases}", lambda: self.layout.releases.chmod(0o750 | OTHERS)
            )

    def _close(self, seen: Survey, release: str) -> None:
        """Let only the application in, once what found its way through `repo` before is gone."""
        if seen.opened and not seen.programs and seen.site is None:
            self._step(f"let only the application's group read {self.layout.releases}", lambda: self._protect(release))

    def _protect(self, release: str) -> None:
        tree = self.layout.release(release)
        static = set(static_files(tree, read_description(tree, release).static_dir).values())
        # nginx has those in `static/`, where they are the same files.
        for path in [tree, *(path for path in tree.rglob("*") if not path.is_symlink())]:
            if path not in static:
                path.chmod(path.stat().st_mode & ~0o007)
        self.layout.releases.chmod(0o750)


def _let_all_read(tree: Path, original: Path) -> None:
    """Give others those rights that they had on the original."""
    for path in tree.rglob("*"):
        twin = original / path.relative_to(tree)
        if not path.is_symlink() and twin.exists():
            path.chmod(path.stat().st_mode | (twin.stat().st_mode & 0o005))
    tree.chmod(0o755)


def _python(tree: Path) -> str:
    found = VERSION.search((tree / ".venv/pyvenv.cfg").read_text(encoding="utf-8"))
    return found[1] if found else "unknown"
