# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual host of a server laid out by hand, as ``nginx -T`` shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.nginx import statements

FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
# What servers without a name of their own are called.
NAMELESS = frozenset({"_", ""})


@dataclass(frozen=True)
class Site:
    """One file of nginx's configuration. ``folders``: where its locations have files, by the location's path."""

    path: Path
    text: str
    names: frozenset[str]
    certificates: frozenset[str]
    backends: frozenset[str]
    folders: dict[str, str]

    @property
    def managed(self) -> bool:
        """Whether the role nginx wrote it."""
        return any(backend.endswith("/live.sock") for backend in self.backends)


def sites(dump: str) -> list[Site]:
    """The files that ``nginx -T`` printed."""
    parts = FILE.split(dump)
    return [_site(Path(name), text) for name, text in zip(parts[1::2], parts[2::2], strict=True)]


def of_domain(dump: str, names: frozenset[str]) -> list[Site]:
    """The files with a server of one of these names."""
    return [site for site in sites(dump) if site.names & names]


def _site(path: Path, text: str) -> Site:
    found = list(statements(text))
    words = [each for _depth, each in found]
    return Site(
        path=path,
        text=text.strip("\n") + "\n",
        names=frozenset(name for each in words if each[0] == "server_name" for name in each[1:]) - NAMELESS,
        certificates=frozenset(each[1] for each in words if each[0] == "ssl_certificate" and len(each) > 1),
        backends=frozenset(_backends(words)),
        folders=dict(_folders(found)),
    )


def _backends(words: list[tuple[str, ...]]) -> Iterator[str]:
    """Servers of upstreams, and what is proxied to without one: paths of sockets, and ``host:port``."""
    for each in words:
        if len(each) < 2:
            continue
        if each[0] == "server":
            yield each[1].removeprefix("unix:").rstrip(":")
        if each[0] == "proxy_pass":
            target = re.sub(r"^https?://", "", each[1])
            unix = re.match(r"unix:([^:]+)", target)
            yield unix[1] if unix else target.split("/")[0]


def _folders(found: list[tuple[int, tuple[str, ...]]]) -> Iterator[tuple[str, str]]:
    locations: dict[int, str] = {}
    for depth, each in found:
        locations = {level: path for level, path in locations.items() if level < depth}
        if each[0] == "location":
            locations[depth] = each[-1]
        elif each[0] in {"alias", "root"} and len(each) > 1 and depth - 1 in locations:
            path = locations[depth - 1]
            yield path, each[1] if each[0] == "alias" else f"{each[1].rstrip('/')}{path}"
