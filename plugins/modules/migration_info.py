#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pending migrations of a staged release would do."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: migration_info
short_description: List the pending migrations of a staged release, with their SQL
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Asks Django, with the code of the staged release and the environment it will run with, which migrations the live
      database lacks, and which SQL each of them is. Nothing is applied.
  - With O(unknown_to) it lists instead what the database has and an older release does not know, so that one can tell
      whether that release may serve again. One that O(release) does not know either, as the schema was changed by a
      release that never served, is read in another release on the host that has it; if there is none, it is listed
      without its SQL, unless it was there when the older release went live.
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
  release:
    description: The id of the release. It must be staged on the host.
    type: str
    required: true
  environment_digest:
    description: The name of the file in C(environments/) with the variables to run with.
    type: str
    required: true
  user:
    description: The user that the application runs as.
    type: str
    required: true
  shell_command:
    description: What runs a line of Python with Django loaded, relative to the release's directory.
    type: list
    elements: str
    default: [.venv/bin/python, manage.py, shell, --command]
  unknown_to:
    description: The id of an older release that is staged on the host too.
    type: str
attributes:
  check_mode:
    description: Changes nothing in any mode. In check mode a release that is not staged is described and not refused.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
seealso:
  - module: carpentries.webapps.migration_gate
  - module: carpentries.webapps.migrations
"""

EXAMPLES = r"""
- name: gate | See what is pending
  carpentries.webapps.migration_info:
    root: /webapps/amy.example.org
    release: 0123456789-89abcdef
    environment_digest: 76543210
    user: amy
  register: migrations
"""

RETURN = r"""
pending:
  description: The pending migrations in the order in which they would be applied. V(none) if the release is not staged.
  returned: success
  type: list
  elements: dict
  contains:
    app:
      description: The label of the Django application.
      type: str
      sample: workshops
    name:
      description: The migration's name.
      type: str
      sample: 0262_membership
    operations:
      description: The names of its operations' classes, or C(Absent) alone where no release on the host shows it.
      type: list
      elements: str
      sample: [AddField, RunPython]
    python:
      description:
        - For each C(RunPython) the tables of the models that its function names, V(none) where its text leaves open
          what it reaches.
      type: list
      elements: list
      sample: [[knox_authtoken]]
    sql:
      description: What C(manage.py sqlmigrate) prints for it.
      type: list
      elements: str
      sample: ['ALTER TABLE "workshops_membership" ADD COLUMN "variant" varchar(5) NULL;']
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.ledger import Entry, load
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import (
    UNKNOWN,
    absent,
    inspection,
    printed_pending,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import (
    Application,
    checked_staged,
    is_staged,
)


def inspected(run: Run, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    application = Application(
        Layout(Path(params["root"])), params["release"], params["environment_digest"], params["user"]
    )
    if not is_staged(application):
        if check:
            return {"pending": None, "msg": "Pending migrations are known once the release is staged."}
        raise WebappsError(
            f"The release {application.release} or the environment {application.environment} is not on this host: "
            "stage it first (role app_release, entry points environment and stage)."
        )
    shell = params["shell_command"]
    if not params["unknown_to"]:
        return {"pending": _printed(run, application, shell, inspection())}
    older = replace(application, release=params["unknown_to"])
    checked_staged(older, check=False)
    since = {(app, name): applied for app, name, applied in _printed(run, older, shell, UNKNOWN)}
    return {"pending": _shown(run, application, older, shell, since) if since else []}


def _shown(
    run: Run, application: Application, older: Application, shell: Sequence[str], since: Mapping[tuple[str, str], float]
) -> list[Any]:
    """What the older release does not know: as the release shows it, else another one on this host, else as absent.

    ``since``: when each was applied. What nothing shows and was there before the older release went live it survived.
    """
    rows = _printed(run, application, shell, inspection(list(since)))
    recorded = load(application.layout.ledger).releases
    for other in _others(application, older, recorded):
        missing = _missing(since, rows)
        if missing:
            # One that does not start leaves its migrations to a person.
            with suppress(WebappsError):
                rows += _printed(run, other, shell, inspection(missing))
    entry = recorded.get(older.release)
    served = _seconds(entry.published_at) if entry and entry.published_at else 0.0
    return rows + [absent(*key) for key in _missing(since, rows) if since[key] >= served]


def _others(application: Application, older: Application, recorded: Mapping[str, Entry]) -> list[Application]:
    """The other releases that are staged here, those first that the database had last."""
    names = sorted(recorded, key=lambda name: -recorded[name].sequence)
    others = [
        replace(application, release=name, environment=recorded[name].environment or application.environment)
        for name in names
        if name not in (application.release, older.release)
    ]
    return [other for other in others if is_staged(other)]


def _missing(wanted: Iterable[tuple[str, str]], rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    shown = {(row["app"], row["name"]) for row in rows}
    return [key for key in wanted if key not in shown]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def _printed(run: Run, application: Application, shell: Sequence[str], program: str) -> list[Any]:
    done = run(application.command([*shell, program]), directory=application.directory)
    if done.status != 0:
        raise WebappsError(
            f"The release {application.release} could not list its migrations: {done.reason}\n"
            "Check the database's address and password in app_release_environment."
        )
    return printed_pending(done.output)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment_digest": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "shell_command": {
                "type": "list",
                "elements": "str",
                "default": [".venv/bin/python", "manage.py", "shell", "--command"],
            },
            "unknown_to": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        result = inspected(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
