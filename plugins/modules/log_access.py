#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: log_access
short_description: Let one user read named logs, also after their rotation
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Sets POSIX access control lists, so that a user can pass the directories of logs and read these files and what
    rotation puts in their place, and needs no group that would let it read more.
  - A directory's default entry makes new files in it readable to the user from their first moment, as far as their mode
    lets their group read. C(/var/log) itself gets none; logrotate copies the list of a file there.
  - Then reads each file as the user, and fails where that is refused.
  - Files and directories that do not exist yet need nothing; call it again when they do.
options:
  user:
    description: The user.
    type: str
    required: true
  paths:
    description: The logs, absolute paths of files.
    type: list
    elements: path
    required: true
attributes:
  check_mode:
    description: Tells which entries are missing.
    support: full
  diff_mode:
    description: Shows the entries that are added.
    support: full
requirements:
  - The packages acl and util-linux.
"""

EXAMPLES = r"""
- name: Let the agent read nginx's logs
  carpentries.webapps.log_access:
    user: cwagent
    paths:
      - /webapps/amy.example.org/logs/nginx_access.log
      - /webapps/amy.example.org/logs/nginx_error.log
"""

RETURN = r"""
grants:
  description: The entries that were missing, as path and entries.
  returned: success
  type: list
  elements: str
  sample: ["/webapps/amy.example.org/logs/nginx_access.log: user:cwagent:r--"]
"""

import pwd
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.log_access import Access, grants


def run(access: Access, user: str, paths: list[Path], check: bool) -> dict[str, Any]:
    """Set what is missing and prove it."""
    missing = grants(paths, user, access.acl)
    if not check:
        for grant in missing:
            access.apply(grant)
        access.assert_readable(paths, user)
    lines = [str(grant) for grant in missing]
    return {
        "changed": bool(missing),
        "grants": lines,
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in lines)},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "path", "required": True},
        },
        supports_check_mode=True,
    )
    user = module.params["user"]
    try:
        pwd.getpwnam(user)
    except KeyError:
        module.fail_json(msg=f"There is no user {user} on this host: create it, or install the package that does.")
    try:
        result = run(Access(runner(module)), user, [Path(path) for path in module.params["paths"]], module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
