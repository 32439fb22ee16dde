#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: migrations
short_description: Apply the pending database migrations of a staged release
version_added: 1.0.0
description:
  - Asks a staged release, run with a staged environment, which Django migrations are pending, and applies them.
  - On PostgreSQL two runs at once are impossible. The release's own Django, by O(shell_command), opens a connection
    of its own and holds the session advisory lock 6445083689569259405 (the first eight bytes of the SHA-256 of
    C(carpentries.webapps migrate)) on it while O(command) runs. The lock vanishes with that session. When the module
    or the program is killed, the command is stopped and its transaction rolled back.
  - Every statement waits for a lock only so long, because the requests of running releases queue behind it. A command
    that ended because of that is repeated after 1, 2, 4, 8 and at most 30 seconds; other failures are not repeated.
  - Lock, limits and repetition need PostgreSQL; with other databases the command just runs. Only the database that the
    settings name C(default) is locked.
  - A pool such as PgBouncer in transaction mode keeps no session, so the lock would mean nothing there. Where the lock
    is seen to be gone the command is stopped. Migrate over the database's own address.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the host.
    type: path
    required: true
  release:
    description: The id of a release that is staged on the host.
    type: str
    required: true
  environment_digest:
    description: The name of the environment file, as M(carpentries.webapps.environment_file) returned it.
    type: str
    required: true
  user:
    description: The user that the application runs as.
    type: str
    required: true
  plan_command:
    description:
      - What prints the migrations in order, those that are pending marked by C([ ]), without changing anything.
    type: list
    elements: str
    default: [.venv/bin/python, manage.py, showmigrations, --plan]
  command:
    description: What applies them.
    type: list
    elements: str
    default: [.venv/bin/python, manage.py, migrate, --no-input]
  shell_command:
    description:
      - What runs Python, given as one more argument, with Django loaded, in the release's directory. Its standard
        input has to stay the module's.
    type: list
    elements: str
    default: [.venv/bin/python, manage.py, shell, --command]
  lock_timeout:
    description: Seconds that a statement may wait for a lock of PostgreSQL; V(0) for ever.
    type: int
    default: 5
  statement_timeout:
    description: Seconds that a statement may take on PostgreSQL, waiting included; V(0) for ever.
    type: int
    default: 900
  attempts:
    description: How often the command is run at most when it does not get a lock.
    type: int
    default: 5
  wait:
    description: Seconds to wait for another run that migrates the same database; with V(0) this one fails at once.
    type: int
    default: 0
attributes:
  check_mode:
    description: Lists what is pending, as far as the release is staged already.
    support: full
  diff_mode:
    description: Shows the pending migrations.
    support: full
"""

EXAMPLES = r"""
- name: Apply migrations
  carpentries.webapps.migrations:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy

- name: List pending migrations
  carpentries.webapps.migrations:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy
  check_mode: true
  register: migrations
"""

RETURN = r"""
pending:
  description:
    - The migrations that were pending, in order; null in check mode when the release is not staged yet, because only
      the release knows.
  returned: always
  type: list
  elements: str
  sample:
    - workshops.0262_membership
output:
  description: What applying them printed.
  returned: when something was applied
  type: list
  elements: str
  sample:
    - "  Applying workshops.0262_membership... OK"
applied:
  description:
    - The migrations that this run recorded in the database, by name; null when the database does not tell.
  returned: when something was pending and check mode is off, also when the run failed midway
  type: list
  elements: str
  sample:
    - workshops.0262_membership
attempts:
  description: How often the command was run.
  returned: when something was applied
  type: int
  sample: 1
failed_migration:
  description: The migration that could not be applied, null when that is not known.
  returned: when the command failed
  type: str
  sample: workshops.0262_membership
blockers:
  description:
    - Who was last seen to hold a lock that the command waited for. What the database does not show the application's
      user is null.
  returned: when the command failed
  type: list
  elements: dict
  sample:
    - pid: 4711
      user: amy
      application_name: psql
      client_address: 10.0.0.7
      state: idle in transaction
      since: 2026-05-04 03:02:01+00
      table: workshops_event
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, run_attached, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import (
    Application,
    Limits,
    checked_staged,
    migrate,
    pending,
)


def applied(run: Run, attached: Run, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    application = Application(
        Layout(Path(params["root"])), params["release"], params["environment_digest"], params["user"]
    )
    if not checked_staged(application, check=check):
        return {"changed": False, "pending": None, "msg": "Pending migrations are known once the release is staged."}
    found = pending(run, application, params["plan_command"])
    result = {
        "changed": bool(found),
        "pending": found,
        "diff": {"before": "", "after": "".join(f"{name}\n" for name in found)},
    }
    if found and not check:
        done = migrate(
            attached,
            application,
            params["command"],
            shell_command=params["shell_command"],
            limits=Limits(params["lock_timeout"], params["statement_timeout"], params["wait"], params["attempts"]),
            expected=found,
        )
        # Whoever was waited for may have left nothing to do.
        result["changed"] = not done.waited or bool(done.applied)
        result |= {"output": done.output.splitlines(), "applied": done.applied, "attempts": done.attempts}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment_digest": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "plan_command": {
                "type": "list",
                "elements": "str",
                "default": [".venv/bin/python", "manage.py", "showmigrations", "--plan"],
            },
            "command": {
                "type": "list",
                "elements": "str",
                "default": [".venv/bin/python", "manage.py", "migrate", "--no-input"],
            },
            "shell_command": {
                "type": "list",
                "elements": "str",
                "default": [".venv/bin/python", "manage.py", "shell", "--command"],
            },
            "lock_timeout": {"type": "int", "default": 5},
            "statement_timeout": {"type": "int", "default": 900},
            "attempts": {"type": "int", "default": 5},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        result = applied(runner(module), run_attached, module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
