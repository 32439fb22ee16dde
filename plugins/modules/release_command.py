#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_command
short_description: Run a command of a staged release as the application
version_added: 1.0.0
description:
  - Runs a command in a staged release's directory, as the application's user, with a staged environment.
  - What it prints is returned, and shown when it fails, with C(***) in place of every value of the environment that
    has six characters or more, and of passwords in addresses.
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
  command:
    description: The command, word by word; no shell reads it.
    type: list
    elements: str
    required: true
  changes:
    description: Whether the command may change something. One that only looks also runs in check mode.
    type: bool
    default: true
  unless_live:
    description:
      - Do nothing on a host that serves this release with this environment already, because it did so only after this
        command had run.
    type: bool
    default: false
  remedy:
    description: What to do when it fails, for the message.
    type: str
    default: ""
attributes:
  check_mode:
    description: A command that changes something does not run; one that only looks does, where the release is staged.
    support: full
  diff_mode:
    description: What a command changes is not known.
    support: none
"""

EXAMPLES = r"""
- name: Create the tables of the database cache before the release serves
  carpentries.webapps.release_command:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy
    command: [.venv/bin/python, manage.py, createcachetable]
    unless_live: true

- name: Have the application check itself
  carpentries.webapps.release_command:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy
    command: [.venv/bin/python, manage.py, check, --deploy]
    changes: false
"""

RETURN = r"""
ran:
  description: Whether the command ran.
  returned: always
  type: bool
  sample: true
output:
  description: The lines that it printed, without values of the environment.
  returned: when it ran
  type: list
  elements: str
  sample:
    - System check identified no issues (0 silenced).
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import Application, checked_staged
from ansible_collections.carpentries.webapps.plugins.module_utils.release_command import command, serves


def done(run: Run, params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    layout = Layout(Path(params["root"]))
    application = Application(layout, params["release"], params["environment_digest"], params["user"])
    if params["unless_live"] and serves(layout, application.release, application.environment):
        return {"changed": False, "ran": False, "msg": f"{application.release} serves already."}
    staged = checked_staged(application, check=check)
    if check and (params["changes"] or not staged):
        return {"changed": params["changes"], "ran": False, "msg": "Not run in check mode."}
    output = command(run, application, params["command"], params["remedy"])
    return {"changed": params["changes"], "ran": True, "output": output}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment_digest": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "command": {"type": "list", "elements": "str", "required": True},
            "changes": {"type": "bool", "default": True},
            "unless_live": {"type": "bool", "default": False},
            "remedy": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        result = done(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
