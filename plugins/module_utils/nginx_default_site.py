# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site that Debian's nginx comes with: removed as long as it is Debian's, and refused once it is somebody's own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


@dataclass(frozen=True)
class Places:
    """Where things are on a Debian host; tests have their own. ``packages``: what dpkg knows of its packages' files."""

    enabled: Path = Path("/etc/nginx/sites-enabled/default")
    packaged: Path = Path("/etc/nginx/sites-available/default")
    packages: Path = Path("/var/lib/dpkg/status")


def difference(places: Places) -> str:
    """How the site differs from Debian's, for people to read; "" where it is Debian's or there is none."""
    # Nothing is served by a link to nothing.
    if not places.enabled.exists():
        return ""
    if not places.enabled.is_symlink() or places.enabled.resolve() != places.packaged.resolve():
        return f"{places.enabled} is not the link to {places.packaged}"
    content = hashlib.md5(places.packaged.read_bytes(), usedforsecurity=False).hexdigest()
    if content not in _of_the_package(places):
        return f"{places.packaged}, which {places.enabled} links to, is not as Debian's package has it"
    return ""


def _of_the_package(places: Places) -> list[str]:
    """The digests that dpkg noted of the packaged file."""
    try:
        known = places.packages.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return re.findall(rf"^ {re.escape('/etc/nginx/sites-available/default')} ([0-9a-f]{{32}})", known, re.MULTILINE)


def remedy(places: Places) -> str:
    return (
        f"a site under a name of its own, without default_server: `mv {places.enabled} {places.enabled.parent}/NAME`. "
        "Remove it if nobody needs it"
    )


def remove(places: Places, *, check: bool) -> bool:
    """Remove Debian's site; return whether there was one. Raises WebappsError for a site that is somebody's own."""
    if differs := difference(places):
        raise WebappsError(
            f"The role nginx removes the site that Debian's package enables, and {differs}: it may serve something. "
            f"Nothing was changed. Wanted is {remedy(places)}; then run this again."
        )
    there = places.enabled.is_symlink()
    if there and not check:
        places.enabled.unlink()
    return there
