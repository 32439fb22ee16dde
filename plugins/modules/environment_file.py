#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: environment_file
short_description: Write an application's environment into a file that is named after its content
version_added: 1.0.0
description:
  - Writes C(environments/<digest>) below the application's directory, one C(NAME='value') a line, quoted so that a
    shell reads every value back as it was given.
  - The name is the beginning of the SHA-256 of the content, so another environment is another file, and the file of
    the release that runs never changes.
  - Nothing points at a new file yet. That is what M(carpentries.webapps.publish) does.
  - No value appears in the module's result, its messages or the system's log. Set C(no_log) on the task too, because
    some callback plugins print a task's arguments.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the host.
    type: path
    required: true
  variables:
    description:
      - The environment. Numbers are written as they read, truth as V(true) or V(false).
    type: dict
    required: true
  group:
    description: The group that may read the file, usually the application's.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is written; the digest is returned all the same, also on a bare host.
    support: full
  diff_mode:
    description: Values are secrets, so only the file's name is shown.
    support: partial
"""

EXAMPLES = r"""
- name: Write the environment
  carpentries.webapps.environment_file:
    root: /webapps/amy.example.org
    group: amy
    variables:
      SECRET_KEY: "{{ vault_secret_key }}"
      DEBUG: false
  no_log: true
  register: environment_file

- name: Find out which environment file a host would get
  carpentries.webapps.environment_file:
    root: /webapps/amy.example.org
    group: amy
    variables: "{{ app_environment }}"
  check_mode: true
  no_log: true
  register: environment_file
"""

RETURN = r"""
digest:
  description: The name of the file.
  returned: always
  type: str
  sample: 1a2b3c4d
path:
  description: The file.
  returned: always
  type: str
  sample: /webapps/amy.example.org/environments/1a2b3c4d
live:
  description: The name of the file that the host's processes run with now. V(none) where nothing was published.
  returned: always
  type: str
  sample: 9f8e7d6c
differs:
  description:
    - The names of variables that make the difference to it, never a value. V(none) without such a file, or when it
      cannot be read.
  returned: always
  type: dict
  contains:
    added:
      description: Variables that it lacks.
      type: list
      elements: str
      sample: [SENTRY_DSN]
    removed:
      description: Variables that it has and that are no longer wanted.
      type: list
      elements: str
      sample: []
    changed:
      description: Variables that it has with another value.
      type: list
      elements: str
      sample: [SECRET_KEY]
"""

import grp
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import environment
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout


def group_id(name: str) -> int | None:
    """The number of a group, or None where there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def written(params: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    layout, group = Layout(Path(params["root"])), group_id(params["group"])
    text = environment.content(params["variables"])
    digest = environment.digest(text)
    path = layout.environments / digest
    changed = group is None or not environment.is_current(path, text, group)
    if changed and not check:
        if group is None or not layout.environments.is_dir():
            raise WebappsError(
                f"The directory {layout.environments} or the group {params['group']} (webapps_group) is missing on "
                "this host: run playbooks/site.yml first."
            )
        environment.write(path, text, group)
    return {
        "changed": changed,
        "digest": digest,
        "path": str(path),
        "live": layout.environment.readlink().name if layout.environment.is_symlink() else None,
        "differs": differs(layout, params["variables"]),
        "diff": {"before": "", "after": f"{path}\n" if changed else ""},
    }


def differs(layout: Layout, variables: dict[str, Any]) -> dict[str, list[str]] | None:
    """How the variables differ from those of the live file, by name; None where there is none to compare with."""
    try:
        before = environment.read_back(layout.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return environment.differences(before, variables)


def main() -> None:
    # Not no_log of the option: that would cut every value, such as "1", out of the digest that is returned.
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "variables": {"type": "dict", "required": True},
            "group": {"type": "str", "required": True},
        },
        supports_check_mode=True,
        no_log=True,
    )
    # In place of the arguments that Ansible would return, and show at -vvv.
    shown = {"module_args": {**module.params, "variables": "(not shown)"}}
    try:
        result = written(module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, invocation=shown, **error.details)
    module.exit_json(invocation=shown, **result)


if __name__ == "__main__":
    main()
