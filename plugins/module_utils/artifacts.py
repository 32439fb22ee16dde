# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts: a built release, packed on the builder into one file that has a checksum beside it."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import sync_directory
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import (
    DESCRIPTION,
    Description,
    discard_build,
    is_complete,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.staging import sha256_of

CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  \S+\n")


@dataclass(frozen=True)
class Artifacts:
    """The directory of artifacts on the builder."""

    directory: Path

    def path(self, release: str) -> Path:
        return self.directory / f"{release}.tar.zst"

    def checksum_path(self, release: str) -> Path:
        """The file that `sha256sum --check` reads. It appears last: an artifact without it does not count."""
        return self.directory / f"{release}.tar.zst.sha256"

    def sha256(self, release: str) -> str | None:
        """The digest of a release's artifact, or None where there is none, or one that is damaged."""
        try:
            named = CHECKSUM_LINE.fullmatch(self.checksum_path(release).read_text(encoding="ascii", errors="replace"))
            return named[1] if named and sha256_of(self.path(release)) == named[1] else None
        except FileNotFoundError:
            return None

    def give(self, release: str, reader: int) -> bool:
        """Let the user ``reader`` read an artifact, and nobody else besides root; say whether that was a change."""
        path = self.path(release)
        if path.stat().st_uid == reader:
            return False
        os.chown(path, reader, -1)
        return True


def must_build(layout: Layout, artifacts: Artifacts, release: str) -> bool:
    """Whether a release's tree must be built: not when it is packed already, or staged here and only to be packed."""
    return artifacts.sha256(release) is None and not is_complete(layout, release)


def pack(run: Run, layout: Layout, artifacts: Artifacts, description: Description) -> str:
    """Pack a release unless that was done, and return the artifact's SHA-256. Raises WebappsError.

    A tree that was built for this is removed; one that is staged here stays as it is.
    """
    release = description.id
    known = artifacts.sha256(release)
    if known is None:
        known = _pack(run, layout, artifacts, description)
    discard_build(layout, release)
    return known


def _pack(run: Run, layout: Layout, artifacts: Artifacts, description: Description) -> str:
    release, tree = description.id, layout.release(description.id)
    if not tree.is_dir():
        raise WebappsError(f"{tree} is missing: build the release first (role app_release, entry point build).")
    artifacts.checksum_path(release).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{release}.", dir=artifacts.directory) as work:
        place = Path(work)
        (place / DESCRIPTION).write_text(description.text(), encoding="utf-8")
        _checked(run, ["tar", "--create", f"--file={place / 'tar'}", *_members(tree, place)])
        # From a file, not a pipe: only then the artifact says how much room it needs unpacked.
        _checked(run, ["zstd", "--quiet", "-T0", "-10", "--rm", str(place / "tar"), "-o", str(place / "tar.zst")])
        digest = sha256_of(place / "tar.zst")
        (place / "sha256").write_text(f"{digest}  {artifacts.path(release).name}\n", encoding="ascii")
        (place / "tar.zst").chmod(0o400)
        _checked(run, ["sync", "--file-system", str(place)])
        (place / "tar.zst").replace(artifacts.path(release))
        (place / "sha256").replace(artifacts.checksum_path(release))
    sync_directory(artifacts.directory)
    return digest


def _members(tree: Path, place: Path) -> list[str]:
    """The tree with the description from another place, in an order and with owners that no builder decides."""
    same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    return [*same, f"--exclude=./{DESCRIPTION}", f"--directory={tree}", ".", f"--directory={place}", DESCRIPTION]


def _checked(run: Run, command: list[str]) -> None:
    finished = run(command)
    if finished.status != 0:
        raise WebappsError(f"{' '.join(command)} failed: {finished.last_words}")
