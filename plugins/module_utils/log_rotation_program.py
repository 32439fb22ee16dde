# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a timer starts to rotate the logs of an application: ``rotate-logs [--check] CONFIGURATION``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.log_rotation import Directory, Rule, due, logs


def rotated(directory: Directory, excluded: list[str], rule: Rule, now: float) -> list[str]:
    """Rotate what is due; returns what could not be, a sentence each."""
    found = []
    with directory.alone():
        for name in logs(directory.names(), excluded):
            try:
                if due(directory.size(name), directory.last_rotated(name), now, rule):
                    length = directory.rotate(name, rule.keep)
                    if length:
                        print(f"{directory.path / name}: {length} bytes moved to {name}.1.gz", flush=True)
            except WebappsError as error:
                found.append(error.message)
    return found


def main() -> int:
    """What the command line says; returns the exit status."""
    try:
        *options, configuration = sys.argv[1:]
        settings = json.loads(Path(configuration).read_text(encoding="utf-8"))
        directory = Directory(Path(settings["directory"]))
        if options == ["--check"]:
            with directory.alone():
                directory.assert_can_cut()
            return 0
        rule = Rule(settings["keep"], settings["size"], settings["age"])
        problems = rotated(directory, settings["excluded"], rule, time.time())
    except WebappsError as error:
        problems = [error.message]
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))
