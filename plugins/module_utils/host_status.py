# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an application is on this host: parts are looked at one by one, so one that is broken does not hide others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.carpentries.webapps.plugins.module_utils import ledger as ledgers
from ansible_collections.carpentries.webapps.plugins.module_utils import maintenance, pg_dumps
from ansible_collections.carpentries.webapps.plugins.module_utils.certificates import read
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import running_now
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Process, SupervisorError

Part = TypeVar("Part")
# Stands in the expected text for the release that is live.
RELEASE = "{release}"


@dataclass(frozen=True)
class Host:
    """Where to look, and through what.

    ``ask``: GET the health path from the host's own front, None where nothing is served. ``expect``: text that the
    answer must contain, "" accepts any 200. ``certificate``: what nginx serves, None where TLS ends elsewhere.
    ``systemd``: what is there where systemd runs.
    """

    layout: Layout
    conf_dir: Path
    processes: Callable[[], Sequence[Process]]
    run: Run
    ask: Callable[[], Answer] | None = None
    expect: str = ""
    certificate: Path | None = None
    systemd: Path = Path("/run/systemd/system")


class Looks:
    """Looks at parts, one after the other; ``troubles`` says of which nothing can be told, and why."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def at(self, part: Callable[[], Part], otherwise: Part) -> Part:
        try:
            return part()
        except WebappsError as error:
            self.troubles.append(error.message)
        except OSError as error:
            self.troubles.append(
                f"{error.filename or 'A file'} cannot be read ({error.strerror or error}): look at it."
            )
        return otherwise


def look(host: Host) -> dict[str, Any]:
    """Everything there is to tell. Raises nothing on purpose: what cannot be told is among ``troubles``."""
    looks, layout = Looks(), host.layout
    processes, silence = _processes(host)
    nothing: dict[str, Any] = {"releases": [], "live": None, "repo": None, "environment": None, "programs": []}
    no_units: list[dict[str, str]] = []
    running = looks.at(lambda: running_now(layout, processes, conf_dir=host.conf_dir), nothing)
    release = running["live"]["release"] if running["live"] else running["repo"]
    return {
        **running,
        "supervisor": silence,
        "release": release,
        **looks.at(lambda: _published(layout, release), {"version": None, "commit": None, "since": None}),
        "health": _health(host, release),
        "maintenance": looks.at(lambda: maintenance.described(maintenance.look(layout)), None),
        "disk": looks.at(lambda: disk(layout.root), None),
        "certificate": looks.at(lambda: _certificate(host), None),
        "dump": looks.at(lambda: newest_dump(layout), None),
        "failed_units": looks.at(lambda: failed_units(host), no_units),
        "troubles": looks.troubles,
    }


def _processes(host: Host) -> tuple[Sequence[Process], str]:
    try:
        return host.processes(), ""
    except SupervisorError as error:
        return [], error.message


def _published(layout: Layout, release: str | None) -> dict[str, Any]:
    """What the ledger knows of the live release."""
    entry = ledgers.load(layout.ledger).releases.get(release) if release else None
    return {
        "version": entry.version if entry else None,
        "commit": entry.commit if entry else None,
        "since": entry.published_at if entry else None,
    }


def _health(host: Host, release: str | None) -> dict[str, Any] | None:
    """What the front answers, without its body: a page may show what is nobody's business."""
    if host.ask is None:
        return None
    answer = host.ask()
    expect = host.expect.replace(RELEASE, release or RELEASE)
    return {
        "url": answer.url,
        "host": answer.host,
        "status": answer.status,
        "error": answer.error,
        "expected": expect,
        "healthy": answer.satisfies(expect),
    }


def disk(path: Path) -> dict[str, Any]:
    """The file system of a path, or of what it will be in. ``percent`` is as `df` counts: of what users may fill."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return {"free": usage.free, "total": usage.total, "percent": -(-100 * usage.used // (usage.used + usage.free))}


def _certificate(host: Host) -> dict[str, Any] | None:
    if host.certificate is None:
        return None
    if not host.certificate.exists():
        raise WebappsError(f"{host.certificate} is missing, so nginx has no certificate: run playbooks/site.yml.")
    found = read(host.run, host.certificate)
    return {
        "path": str(host.certificate),
        "names": list(found.names),
        "ends": datetime.fromtimestamp(found.not_after, UTC).isoformat(),
        "self_signed": found.self_signed,
    }


def newest_dump(layout: Layout) -> dict[str, Any] | None:
    """The newest dump that was proven; none where dumps are not kept."""
    if not layout.backups.is_dir():
        return None
    for dump in pg_dumps.proven(layout.backups, layout.domain):
        return pg_dumps.summary(dump, pg_dumps.described(dump.path))
    return None


def failed_units(host: Host) -> list[dict[str, str]]:
    """The application's work by timers whose last run failed, each with the last line that its program wrote."""
    if not host.systemd.is_dir():
        return []
    patterns = [f"webapps-*-{host.layout.domain}.service", "certbot.service"]
    listed = host.run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--full", *patterns])
    if listed.status:
        raise WebappsError(f"systemctl does not list the units that failed ({listed.last_words}): look at systemd.")
    units = [line.split()[0] for line in listed.output.splitlines() if line.strip()]
    return [{"unit": unit, "said": _last_line(host.run, unit)} for unit in units]


def _last_line(run: Run, unit: str) -> str:
    """What a unit's program said last; systemd's own words, that it failed, are left out."""
    asked = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1", f"_SYSTEMD_UNIT={unit}"]
    said = run(asked).output.strip().splitlines()
    return said[-1] if said else ""
