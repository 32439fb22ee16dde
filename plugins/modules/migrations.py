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
  - Run it for one host. Django takes no lock, so two hosts at once would disturb each other.
  - Every statement waits for a lock only so long, because the requests of running releases queue behind it.
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
  lock_timeout:
    description: Seconds that a statement may wait for a lock of PostgreSQL.
    type: int
    default: 5
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
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import (
    Application,
    is_staged,
    migrate,
    pending,
)


def applied(run: Run, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    application = Application(
        Layout(Path(params["root"])), params["release"], params["environment_digest"], params["user"]
    )
    if not is_staged(application):
        if check:
            return {
                "changed": False,
                "pending": None,
                "msg": "Pending migrations are known once the release is staged.",
            }
        raise WebappsError(
            f"The release {application.release} or the environment {application.environment} is not on this host: "
            "stage it first (role app_release, entry points environment and stage)."
        )
    found = pending(run, application, params["plan_command"])
    result = {
        "changed": bool(found),
        "pending": found,
        "diff": {"before": "", "after": "".join(f"{name}\n" for name in found)},
    }
    if found and not check:
        finished = migrate(run, application, params["command"], lock_timeout=params["lock_timeout"])
        result["output"] = finished.output.splitlines()
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
            "lock_timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    try:
        result = applied(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
