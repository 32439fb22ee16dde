#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_requirements
short_description: Turn an application's lock file into requirements that pip installs
version_added: 1.0.0
description:
  - Finds the lock file of a release that is being built. Pip's own format is taken as it is. C(Pipfile.lock),
    C(poetry.lock) and C(uv.lock) are read by the tool that writes them, which prints requirements with hashes.
  - The tool is installed on the builder in an environment of its own, as pinned, and only the one that is needed.
  - A lock file that is older than what it was made from is refused.
  - Pip's settings on the builder say where packages come from, not the lock file.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  root:
    description: The application's directory on the builder.
    type: path
    required: true
  id:
    description: The release's id. Its source and its virtual environment must be there.
    type: str
    required: true
  lock:
    description:
      - The lock file, relative to the source, or V(auto) for the only one of C(requirements.txt), C(Pipfile.lock),
        C(poetry.lock) and C(uv.lock) in its root. A file of any other name is in pip's format.
    type: str
    default: auto
  groups:
    description: Dependency groups (of C(Pipfile.lock), categories) that are wanted besides the main one.
    type: list
    elements: str
    default: []
  extras:
    description: Extras of the application that are wanted.
    type: list
    elements: str
    default: []
  owner:
    description: The user that builds. Whatever reads the source runs as this user.
    type: str
    required: true
  home:
    description: A directory of that user on the builder, for caches and tools.
    type: path
    required: true
  pins:
    description: A directory with one file of hash-pinned requirements for each tool. What is exported goes there too.
    type: path
    required: true
attributes:
  check_mode:
    description: Nothing is installed or written; the lock file is named as far as the source is there.
    support: full
  diff_mode:
    description: Requirements with hashes are too long to show.
    support: none
requirements:
  - python3-venv on the host, for the tools
"""

EXAMPLES = r"""
- name: Find the requirements of a release
  carpentries.webapps.release_requirements:
    root: /webapps/amy.example.org
    id: 3f2a1b9c0d-9f8e7d6c
    owner: amy
    home: /var/lib/webapps/amy.example.org/cache
    pins: /var/lib/webapps/amy.example.org/lock_tools
  register: requirements

- name: Take a group and an extra of uv.lock
  carpentries.webapps.release_requirements:
    root: /webapps/amy.example.org
    id: 3f2a1b9c0d-9f8e7d6c
    lock: uv.lock
    groups: [server]
    extras: [postgres]
    owner: amy
    home: /var/lib/webapps/amy.example.org/cache
    pins: /var/lib/webapps/amy.example.org/lock_tools
  register: requirements
"""

RETURN = r"""
lock:
  description: The lock file, relative to the source; null in check mode when the source is not there yet.
  returned: always
  type: str
  sample: Pipfile.lock
tool:
  description: The tool that reads it; empty for pip itself.
  returned: when the source is there
  type: str
  sample: pipenv
requirements:
  description: The file for C(pip install --requirement).
  returned: when the source is there
  type: str
  sample: /var/lib/webapps/amy.example.org/lock_tools/requirements.txt
"""

import pwd
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import environment
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.lock_files import Builder, Lock, check, export, find
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import checked_id


def required(run: Run, params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    tree = Layout(Path(params["root"])).release(checked_id(params["id"]))
    if not tree.is_dir() and check_mode:
        return {"changed": True, "lock": None, "msg": "The lock file is known once the source is there."}
    lock = Lock(find(tree, params["lock"]), params["groups"], params["extras"])
    check(lock)
    exported = Path(params["pins"]) / "requirements.txt"
    if lock.tool and not check_mode:
        builder = Builder(run, params["owner"], Path(params["home"]), Path(params["pins"]), sys.executable)
        text = export(builder, lock, tree / ".venv/bin/python")
        environment.write(exported, text, pwd.getpwnam(params["owner"]).pw_gid)
    return {
        "changed": bool(lock.tool),
        "lock": str(lock.path.relative_to(tree)),
        "tool": lock.tool,
        "requirements": str(exported if lock.tool else lock.path),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "id": {"type": "str", "required": True},
            "lock": {"type": "str", "default": "auto"},
            "groups": {"type": "list", "elements": "str", "default": []},
            "extras": {"type": "list", "elements": "str", "default": []},
            "owner": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "pins": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = required(runner(module), module.params, check_mode=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
