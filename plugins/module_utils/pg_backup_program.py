# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timers of dumps and drills start: the modules' own code, with the settings of a file that root reads."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup, pg_restore
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import run_here
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def done(work: str, params: dict[str, Any], host: pg_backup.Host) -> str:
    """Dump or drill, and say what came of it. Raises WebappsError."""
    if work == "dump":
        result = pg_backup.backup(pg_backup.settings_of(params, reason="timer"), host, check=False)
        dump = result["dump"]
        stored = f", uploaded to {result['uploaded']}" if "uploaded" in result else ""
        return f"dumped {dump['path']}: {dump['tables']} tables, {dump['rows']} rows, {dump['size']} bytes{stored}"
    result = pg_restore.drill(pg_restore.settings_of(params), host, "", check=False)
    return f"drill passed: {result['dump']} restores, {len(result['tables'])} tables, {result['rows']} rows"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="pg-backup", description="Dump a database, or restore its newest dump and compare."
    )
    parser.add_argument("work", choices=["dump", "drill"])
    parser.add_argument("settings", type=Path, help="the file that role pg_backup wrote")
    arguments = parser.parse_args()
    try:
        params = json.loads(arguments.settings.read_text(encoding="utf-8"))
        print(done(arguments.work, params, pg_backup.this_host(run_here)))
    except WebappsError as error:
        print(error.message, file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError) as error:
        # Not a traceback, whose lines would show settings.
        print(
            f"{arguments.settings} cannot be used ({type(error).__name__}: {error}): run playbooks/site.yml.",
            file=sys.stderr,
        )
        return 1
    return 0
