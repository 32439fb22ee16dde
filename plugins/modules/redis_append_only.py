#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_append_only
short_description: Have a running Redis write its append-only file
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Redis that is started with C(appendonly yes) and without such a file begins empty, whatever its snapshot holds.
  - So this has a running Redis write the file from what it holds, and refuses to go on where a stopped one has its data
    in a snapshot alone. It does nothing where Redis has such a file, or has neither data nor a process.
options:
  port:
    description: The port on 127.0.0.1.
    type: int
    default: 6379
  user:
    description: The user to log in as. Without it, and where it is not let in, the default user.
    type: str
    default: ""
  password:
    description: The password, if one is asked for.
    type: str
    default: ""
  password_file:
    description: A configuration file that holds the password as it was before, in a line C(requirepass "...").
    type: path
  directory:
    description: Where Redis keeps its data.
    type: path
    default: /var/lib/redis
  timeout:
    description: Seconds that writing the file may take.
    type: int
    default: 300
attributes:
  check_mode:
    description: Tells whether the file would be written.
    support: full
  diff_mode:
    description: Shows the setting before and after.
    support: full
"""

EXAMPLES = r"""
- name: Have Redis write its append-only file
  carpentries.webapps.redis_append_only:
    password: "{{ redis_password }}"
"""

RETURN = r"""
running:
  description: Whether Redis answers.
  returned: success
  type: bool
  sample: true
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import redis_server
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def run(
    connection: redis_server.Connection | None,
    passwords: list[str],
    directory: Path,
    timeout: int,
    check: bool,
    user: str = "",
) -> dict[str, Any]:
    """Make sure that Redis may be restarted with an append-only file. ``connection``: None where nobody answers."""
    if connection is None:
        redis_server.assert_nothing_to_lose(directory)
        return {"changed": False, "running": False}
    if not redis_server.log_in(connection, passwords, user):
        # Its password is being changed.
        redis_server.assert_append_only_file_exists(directory)
        return {"changed": False, "running": True}
    if redis_server.keeps_append_only_file(connection):
        return {"changed": False, "running": True}
    if not check:
        redis_server.write_append_only_file(connection, timeout)
    return {
        "changed": True,
        "running": True,
        "diff": {"before": "appendonly no\n", "after": "appendonly yes\n"},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "port": {"type": "int", "default": 6379},
            "user": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "password_file": {"type": "path", "no_log": False},
            "directory": {"type": "path", "default": "/var/lib/redis"},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    passwords = [module.params["password"]]
    password_file = module.params["password_file"]
    if password_file and Path(password_file).exists():
        passwords.append(redis_server.password_in(Path(password_file).read_text()))
    try:
        connection = redis_server.SocketConnection("127.0.0.1", module.params["port"])
    except ConnectionRefusedError:
        connection = None
    try:
        result = run(
            connection,
            [password for password in passwords if password],
            Path(module.params["directory"]),
            module.params["timeout"],
            module.check_mode,
            module.params["user"],
        )
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
