# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases on a host: what makes a directory one, and which there are.

A release is complete when its RELEASE.json is there, which renames make the last thing to appear and the first to
vanish. Whatever is half done carries a name that begins with a dot.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as ledgers
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import RELEASE_ID

DESCRIPTION = "RELEASE.json"
PARTIAL, REMOVED, BUILDING = "partial", "removed", "building"


@dataclass(frozen=True)
class Description:
    """What RELEASE.json says of a release. ``static_dir``: where its static files are, "" when it has none."""

    id: str
    version: str
    commit: str
    repository: str
    python: str
    platform: str
    static_dir: str

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def checked_id(release: str) -> str:
    """A release id that is safe as a directory's name. Raises WebappsError."""
    if not RELEASE_ID.fullmatch(release):
        raise WebappsError(
            f'"{release}" is no release id: give the one that carpentries.webapps.release_plan named, '
            "for example 3f2a1b9c0d-9f8e7d6c"
        )
    return release


def hidden(layout: Layout, release: str, suffix: str) -> Path:
    """The name of something half done beside a release's directory."""
    return layout.releases / f".{release}.{suffix}"


def building_mark(layout: Layout, release: str) -> Path:
    """The file that says that a directory without RELEASE.json is a build of ours, and may be removed."""
    return hidden(layout, release, BUILDING)


def is_complete(layout: Layout, release: str) -> bool:
    return (layout.release(release) / DESCRIPTION).is_file()


def complete_releases(layout: Layout) -> list[str]:
    """The ids of the releases that are on the disk as a whole."""
    if not layout.releases.is_dir():
        return []
    names = sorted(path.name for path in layout.releases.iterdir())
    return [name for name in names if RELEASE_ID.fullmatch(name) and is_complete(layout, name)]


def linked_release(layout: Layout) -> str | None:
    """The release that `repo` points at, or None."""
    return layout.repo.readlink().name if layout.repo.is_symlink() else None


def linked_environment(layout: Layout) -> str | None:
    """The file that `environment` points at, by its name, or None."""
    return layout.environment.readlink().name if layout.environment.is_symlink() else None


def read_description(tree: Path, release: str) -> Description:
    """A release's RELEASE.json. Raises WebappsError when it is missing, unreadable or another release's."""
    path = tree / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        known = {name: fields[name] for name in Description.__dataclass_fields__ if name != "static_dir"}
        found = Description(**known, static_dir=fields.get("static_dir", "staticfiles"))
    except FileNotFoundError as error:
        raise WebappsError(f"{path} is missing: {tree} is not a finished release.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WebappsError(
            f"{path} does not describe a release ({error!r}): remove {tree} and stage it again."
        ) from error
    if found.id != release:
        raise WebappsError(
            f"{path} says that this is the release {found.id}, and {release} was asked for: the artifact is another "
            "release's. Remove it from the builder and deploy again."
        )
    return found


def discard_build(layout: Layout, release: str) -> None:
    """Remove what a build left in a release's place, if it is not a whole release."""
    tree = layout.release(release)
    if tree.exists() and not is_complete(layout, release):
        shutil.rmtree(tree)
    building_mark(layout, release).unlink(missing_ok=True)


def static_files(tree: Path, static_dir: str) -> dict[Path, Path]:
    """A release's static files, by their path below its static directory."""
    top = tree / static_dir
    found = sorted(top.rglob("*")) if static_dir else []
    return {path.relative_to(top): path for path in found if path.is_file()}


def listing(layout: Layout) -> dict[str, Any]:
    """What the ledger says of the releases that are on the disk, and which is live and which is the last good one."""
    recorded = ledgers.load(layout.ledger)
    present = ledgers.only(recorded, complete_releases(layout))
    return {
        "releases": [
            {
                "id": name,
                "state": entry.state,
                "version": entry.version,
                "commit": entry.commit,
                "staged_at": entry.staged_at,
                "published_at": entry.published_at,
                "environment": entry.environment,
                "reason": entry.reason,
            }
            for name, entry in sorted(present.releases.items(), key=lambda item: item[1].sequence)
        ],
        "live": linked_release(layout),
        "environment": linked_environment(layout),
        "last_good": ledgers.last_good(present),
    }
