# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared directories: what the application stores, outside of all releases, and linked into each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout

# What keeps an empty directory in git.
PLACEHOLDERS = {".gitkeep", ".keep", ".gitignore"}
NEVER = {".venv", "RELEASE.json"}
SHOWN = 5


def checked(names: Sequence[str]) -> list[PurePosixPath]:
    """Shared directories, relative to the source. Raises WebappsError for what cannot be one."""
    paths = [PurePosixPath(name) for name in names]
    for name, path in zip(names, paths, strict=True):
        if path.is_absolute() or not path.parts or ".." in path.parts or path.parts[0] in NEVER:
            raise WebappsError(
                f'app_release_shared_directories has "{name}": give a directory relative to the source, such as media.'
            )
        if inner := [other for other in paths if path in other.parents]:
            raise WebappsError(
                f"app_release_shared_directories has {path} and {inner[0]}, one within the other: leave out "
                "the inner one."
            )
    return paths


def link(layout: Layout, tree: Path, names: Sequence[str]) -> None:
    """Put links to `shared/` into a source that was just written. Raises WebappsError when that would hide files."""
    for path in checked(names):
        place = tree / path
        if outside := [parent for parent in place.parents if parent.is_relative_to(tree) and parent.is_symlink()]:
            raise WebappsError(
                f"The source has {outside[0].relative_to(tree)} as a link, so {path} (app_release_shared_directories) "
                "is not within it: name the directory that the link means."
            )
        _make_room(place, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Relative, and releases are as deep as what is half done: it holds wherever the tree is on its way.
        target = layout.shared / path
        place.symlink_to(os.path.relpath(target, layout.releases / tree.name / path.parent))


def _make_room(place: Path, path: PurePosixPath) -> None:
    if place.is_symlink() or place.is_file():
        raise WebappsError(
            f"The source has {path} (app_release_shared_directories), but not as a directory: remove it from the "
            "repository, or share another name."
        )
    if not place.is_dir():
        return
    files = sorted(str(found.relative_to(place)) for found in place.rglob("*") if not found.is_dir())
    if hidden := [name for name in files if Path(name).name not in PLACEHOLDERS]:
        more = f" and {len(hidden) - SHOWN} more" if len(hidden) > SHOWN else ""
        raise WebappsError(
            f"The source has files in {path} (app_release_shared_directories), which would be hidden by the shared "
            f"directory: {', '.join(hidden[:SHOWN])}{more}. Move them elsewhere in the repository, or do not share it."
        )
    shutil.rmtree(place)
