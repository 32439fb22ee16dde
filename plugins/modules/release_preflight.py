#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_preflight
short_description: Import a release's settings with its real environment
version_added: 1.0.0
description:
  - Imports the Django settings of a release on a host, as the application's user, with the environment that its
    processes will have there, and changes nothing.
  - Names every environment variable that the settings miss, not only the first, as far as they can say. They are
    tried with placeholders for those that are already known to be missing.
  - No message shows a value of the environment.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the host.
    type: path
    required: true
  release:
    description: The id of a release that is staged on the host, or on the builder of one that is being built.
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
  settings:
    description: The settings' module. Empty for the one that the environment or else C(manage.py) names.
    type: str
    default: ""
attributes:
  check_mode:
    description: The module changes nothing; in check mode a release that is not there yet is no failure.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Import the settings that manage.py names
  carpentries.webapps.release_preflight:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy

- name: Import settings by name
  carpentries.webapps.release_preflight:
    root: /webapps/amy.example.org
    release: 3f2a1b9c0d-9f8e7d6c
    environment_digest: 1a2b3c4d
    user: amy
    settings: config.settings
"""

RETURN = r"""
imported:
  description: Whether the settings were imported; false only in check mode, when the release is not there yet.
  returned: success
  type: bool
  sample: true
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import Application
from ansible_collections.carpentries.webapps.plugins.module_utils.preflight import preflight


def imported(run: Run, params: dict[str, Any], *, check: bool) -> bool:
    """Whether the settings were imported. Raises WebappsError when they cannot be."""
    layout = Layout(Path(params["root"]))
    application = Application(layout, params["release"], params["environment_digest"], params["user"])
    there = application.directory.is_dir() and (layout.environments / application.environment).is_file()
    if check and not there:
        return False
    if not there:
        raise WebappsError(
            f"The release {application.release} or the environment {application.environment} is not on this host: "
            "stage it first (role app_release, entry points environment and stage)."
        )
    preflight(run, application, params["settings"])
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "environment_digest": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "settings": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        done = imported(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(changed=False, imported=done)


if __name__ == "__main__":
    main()
