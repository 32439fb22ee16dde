# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on a host: every path follows from the application's root, ``/webapps/{domain}``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# sizeof(sun_path) - 1, unix(7): the kernel refuses longer socket paths.
MAX_SOCKET_PATH = 107


@dataclass(frozen=True)
class Layout:
    """The paths of one application on one host.

    ``root``: the application's directory, named after its domain.
    ``run_root``: the parent of the directories for sockets; a file system that starts empty at boot.
    """

    root: Path
    run_root: Path = Path("/run/webapps")

    @property
    def domain(self) -> str:
        return self.root.name

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    def release(self, release_id: str) -> Path:
        return self.releases / release_id

    @property
    def ledger(self) -> Path:
        return self.root / "releases.json"

    @property
    def repo(self) -> Path:
        """The link to the live release, where operators look for the code."""
        return self.root / "repo"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def environment(self) -> Path:
        """The link to the live environment file."""
        return self.root / "environment"

    @property
    def static(self) -> Path:
        return self.root / "static"

    @property
    def maintenance_on(self) -> Path:
        """The page, under the name that has nginx answer everything with it."""
        return self.root / "maintenance_on.html"

    @property
    def maintenance_off(self) -> Path:
        """The page while the site is served."""
        return self.root / "maintenance_off.html"

    @property
    def shared(self) -> Path:
        """What the application stores and every release sees."""
        return self.root / "shared"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        """The dumps of the database, for root alone."""
        return self.root / "DB_backups"

    @property
    def live_socket(self) -> Path:
        """The link nginx connects to; what it points at decides which generation serves."""
        return self.root / "live.sock"

    @property
    def run_dir(self) -> Path:
        return self.run_root / self.domain

    def socket(self, generation: str) -> Path:
        """The unix socket of a generation. Raises WebappsError when the kernel could not bind to it."""
        path = self.run_dir / f"{generation}.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise WebappsError(
                f"The socket path {path} has {len(os.fsencode(path))} bytes, the kernel takes {MAX_SOCKET_PATH}: "
                "choose a shorter webapps_domain"
            )
        return path
