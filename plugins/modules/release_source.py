#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_source
short_description: Begin the build of a release with the files of a commit
version_added: 1.0.0
description:
  - Fetches a commit, as shallow as the repository's server allows, into a bare repository that is kept on the builder,
    and writes its files to the place that the release will have, without any trace of git.
  - What a build that was killed left in that place is removed first. A directory there that is a finished release is
    refused.
author:
  - The Carpentries webapps maintainers (@carpentries)
extends_documentation_fragment:
  - carpentries.webapps.git_access
options:
  root:
    description: The application's directory on the builder.
    type: path
    required: true
  id:
    description: The release's id, as M(carpentries.webapps.release_plan) named it.
    type: str
    required: true
  repository:
    description: The address of the git repository, without password or token.
    type: str
    required: true
  commit:
    description: The full id of the commit.
    type: str
    required: true
  ref:
    description: The full name of the tag or branch that named the commit, for servers that give no bare commit.
    type: str
  mirror:
    description: The bare repository on the builder. Its parent must exist.
    type: path
    required: true
  owner:
    description: The user that builds, who will own the files.
    type: str
    required: true
  timeout:
    description: Seconds that one transfer may take.
    type: int
    default: 600
  shared_directories:
    description:
      - Directories, relative to the source, that become links to the same name in C(shared/) below O(root).
      - A directory that the source has there is refused when it holds more than what keeps it in git.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Nothing is fetched.
    support: full
  diff_mode:
    description: A commit's files are too many to show.
    support: none
requirements:
  - git on the host
"""

EXAMPLES = r"""
- name: Begin the build of a release
  carpentries.webapps.release_source:
    root: /webapps/amy.example.org
    id: 3f2a1b9c0d-9f8e7d6c
    repository: https://github.com/carpentries/amy.git
    commit: 3f2a1b9c0d5e6f708192a3b4c5d6e7f8091a2b3c
    ref: refs/tags/v4.2.0
    mirror: /var/lib/webapps/amy.example.org/git
    owner: amy

- name: Begin the build of a commit that no tag names
  carpentries.webapps.release_source:
    root: /webapps/amy.example.org
    id: "{{ plan.release_id }}"
    repository: "{{ plan.repository }}"
    commit: "{{ plan.commit }}"
    mirror: /var/lib/webapps/amy.example.org/git
    owner: amy
    timeout: 1800
    shared_directories: [media]
"""

RETURN = r"""
path:
  description: The directory of the release that is to be built.
  returned: always
  type: str
  sample: /webapps/amy.example.org/releases/3f2a1b9c0d-9f8e7d6c
"""

import pwd
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
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import checked_repository
from ansible_collections.carpentries.webapps.plugins.module_utils.release_source import Mirror, Source, start_build
from ansible_collections.carpentries.webapps.plugins.module_utils.releases import checked_id, is_complete
from ansible_collections.carpentries.webapps.plugins.module_utils.shared_directories import checked


def owner_ids(name: str) -> tuple[int, int]:
    """The numbers of a user and its group. Raises WebappsError where there is none."""
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise WebappsError(
            f"There is no user {name} (webapps_user) on the builder: run playbooks/site.yml first, or name another."
        ) from error
    return user.pw_uid, user.pw_gid


def begin(run: Run, params: dict[str, Any], *, check: bool) -> Path:
    """Do what the module is for. Raises WebappsError."""
    layout = Layout(Path(params["root"]))
    release = checked_id(params["id"])
    if is_complete(layout, release):
        raise WebappsError(
            f"{layout.release(release)} is a finished release, which never changes: nothing is to be built."
        )
    source = Source(checked_repository(params["repository"]), params["commit"], params["ref"], params["timeout"])
    shared = [str(path) for path in checked(params["shared_directories"])]
    credentials = Credentials(params["key"], params["known_hosts"], params["token"], params["token_user"])
    with git_access(source.repository, credentials) as access:
        if not check:
            mirror = Mirror(run, Path(params["mirror"]), access)
            start_build(layout, release, mirror, source, owner_ids(params["owner"]), shared)
    return layout.release(release)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "id": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "commit": {"type": "str", "required": True},
            "ref": {"type": "str"},
            "mirror": {"type": "path", "required": True},
            "owner": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 600},
            "shared_directories": {"type": "list", "elements": "str", "default": []},
            **GIT_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    try:
        path = begin(runner(module), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(changed=True, path=str(path))


if __name__ == "__main__":
    main()
