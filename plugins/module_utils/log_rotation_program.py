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

RETRIED = "correct the cause, such as a full disk; the next run, within an hour, tries again."


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
            except OSError as error:
                found.append(f"{directory.path / name} was not rotated ({error.strerror}): {RETRIED}")
    return found


def done(options: list[str], configuration: str) -> list[str]:
    """Do what the command line says; returns what could not be done, a sentence each. Raises WebappsError."""
    try:
        settings = json.loads(Path(configuration).read_text(encoding="utf-8"))
        directory = Directory(Path(settings["directory"]))
        excluded, rule = settings["excluded"], Rule(settings["keep"], settings["size"], settings["age"])
    except (OSError, ValueError, KeyError) as error:
        raise WebappsError(f"{configuration} cannot be used ({error!r}): run playbooks/site.yml.") from error
    try:
        if options != ["--check"]:
            return rotated(directory, excluded, rule, time.time())
        with directory.alone():
            directory.assert_can_cut()
    except OSError as error:
        return [f"The logs in {directory.path} cannot be rotated ({error.strerror}): {RETRIED}"]
    return []


def main() -> int:
    """What the command line says; returns the exit status."""
    try:
        *options, configuration = sys.argv[1:]
        problems = done(options, configuration)
    except WebappsError as error:
        problems = [error.message]
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))
