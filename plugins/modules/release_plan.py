#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_plan
short_description: Name the release that a version of an application stands for
version_added: 1.0.0
description:
  - Asks a git repository for the commit of a tag, a branch or a commit id, and computes the id of the release that a
    build of it would be.
  - The id follows from what decides the result of a build and from nothing else, so the same inputs name the same
    release on every day and on every builder.
  - Runs on the builder, because its Python and its platform are part of the release. It changes nothing.
author:
  - The Carpentries webapps maintainers (@carpentries)
extends_documentation_fragment:
  - carpentries.webapps.git_access
options:
  repository:
    description: The address of the application's git repository, as git takes it, without password or token.
    type: str
    required: true
  version:
    description: A tag, a branch or a full commit id. A tag wins over a branch of the same name.
    type: str
    required: true
  root:
    description: The application's directory on the hosts. Virtual environments hold it, so it is part of the release.
    type: path
    required: true
  python:
    description: The interpreter that builds the virtual environment, a path or a name found in C(PATH).
    type: str
    default: python3
  settings:
    description: What else decides the result of the build. Only used for the release's id.
    type: dict
    default: {}
  timeout:
    description: Seconds that the repository may take to answer.
    type: int
    default: 60
attributes:
  check_mode:
    description: The module reads only, so check mode makes no difference.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
requirements:
  - git on the host
"""

EXAMPLES = r"""
- name: Name the release of a tag
  carpentries.webapps.release_plan:
    repository: https://github.com/carpentries/amy.git
    version: v4.2.0
    root: /webapps/amy.example.org
  register: plan

- name: Name the release of a tag in a private repository
  carpentries.webapps.release_plan:
    repository: git@github.com:carpentries/amy.git
    version: v4.2.0
    root: /webapps/amy.example.org
    key: "{{ vault_deploy_key }}"
    known_hosts: ["github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"]
  register: plan

- name: Name the release that a build with other settings would be
  carpentries.webapps.release_plan:
    repository: https://github.com/carpentries/amy.git
    version: v4.2.0
    root: /webapps/amy.example.org
    python: /usr/bin/python3.11
    settings:
      requirements: requirements/production.txt
"""

RETURN = r"""
release_id:
  description: The id of the release, the same wherever the same is built.
  returned: always
  type: str
  sample: 3f2a1b9c0d-9f8e7d6c
version:
  description: The version that was asked for.
  returned: always
  type: str
  sample: v4.2.0
commit:
  description: The full id of the commit.
  returned: always
  type: str
  sample: 3f2a1b9c0d5e6f708192a3b4c5d6e7f8091a2b3c
ref:
  description: The full name of the tag or branch, null for a commit that none of them names.
  returned: always
  type: str
  sample: refs/tags/v4.2.0
repository:
  description: The repository that was asked.
  returned: always
  type: str
  sample: https://github.com/carpentries/amy.git
python:
  description: The version of the interpreter that builds.
  returned: always
  type: str
  sample: 3.11.2
platform:
  description: What compiled parts of the release depend on.
  returned: always
  type: str
  sample: debian-12-x86_64
"""

import platform
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import (
    GIT_ARGUMENTS,
    Credentials,
    git_access,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import (
    Ingredients,
    checked_repository,
    platform_name,
    python_version,
    read_refs,
    resolve,
)


def plan(run: Run, params: dict[str, Any], os_release: str, machine: str) -> dict[str, object]:
    """The result of the module. Raises WebappsError."""
    repository = checked_repository(params["repository"])
    credentials = Credentials(params["key"], params["known_hosts"], params["token"], params["token_user"])
    with git_access(repository, credentials) as access:
        refs = read_refs(run, repository, params["timeout"], access)
    resolved = resolve(params["version"], refs, repository)
    ingredients = Ingredients(
        repository=repository,
        commit=resolved.commit,
        root=params["root"],
        python=python_version(run, params["python"]),
        platform=platform_name(os_release, machine),
        settings=params["settings"],
    )
    return {
        "release_id": ingredients.release_id(),
        "version": resolved.version,
        "commit": resolved.commit,
        "ref": resolved.ref,
        "repository": repository,
        "python": ingredients.python,
        "platform": ingredients.platform,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "python": {"type": "str", "default": "python3"},
            "settings": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 60},
            **GIT_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    try:
        os_release = Path("/etc/os-release").read_text(encoding="utf-8")
        module.exit_json(changed=False, **plan(runner(module), module.params, os_release, platform.machine()))
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)


if __name__ == "__main__":
    main()
