#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_restore
short_description: Restore a dump into a scratch database and compare, or put it in the real one's place
version_added: 1.0.0
description:
  - Restores a dump of M(carpentries.webapps.pg_backup) into a database of its own, and compares its tables and rows
    with those that were counted when the dump was taken.
  - With O(into=scratch), the drill, that database is then dropped. With O(into=live) it takes the place of the
    application's, in one transaction that renames both; the one before stays under the name RV(previous) until
    somebody drops it.
  - Refuses by name a dump that is empty, truncated, damaged, unknown, or of another application or database.
  - Takes a user that may create databases, and for O(into=live) is a member of the application's; no superuser.
author:
  - The Carpentries webapps maintainers (@carpentries)
extends_documentation_fragment:
  - carpentries.webapps.pg_database
options:
  dump:
    description: The path of the dump. The default is the newest proven one in C(DB_backups).
    type: path
    default: ""
  into:
    description: Whether the restored database is dropped after the comparison, or replaces the real one.
    type: str
    choices: [scratch, live]
    default: scratch
  confirm:
    description: The application's domain, which O(into=live) takes as a second word that it is meant.
    type: str
    default: ""
  restore_connection:
    description: Who restores and where, part by part, where that is not the application's own user and server.
    type: dict
    suboptions:
      host:
        description: A name, an address, or the directory of a unix socket.
        type: str
      port:
        description: The port.
        type: int
      name:
        description: The database that is replaced.
        type: str
      user:
        description: Who restores.
        type: str
      password:
        description: The password. It goes to libpq in a file with mode 0600 that is removed afterwards.
        type: str
      sslmode:
        description: As libpq has it.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: The file on the host with the authorities to verify the server's certificate with.
        type: path
  maintenance_database:
    description: The database of the server to be connected to while others are created and renamed.
    type: str
    default: postgres
  restore_origin:
    description: The domain that the dump was taken of; the default is that of O(root).
    type: str
    default: ""
attributes:
  check_mode:
    description: Verifies the dump, connects and refuses what a restore would refuse, and restores nothing.
    support: full
  diff_mode:
    description: Shows which database is renamed to what.
    support: full
"""

EXAMPLES = r"""
- name: Prove that the newest dump restores
  carpentries.webapps.pg_restore:
    root: /webapps/amy.example.org
    environment_file: /webapps/amy.example.org/environment

- name: Go back to a dump, with the page of maintenance on
  carpentries.webapps.pg_restore:
    root: /webapps/amy.example.org
    environment_file: /webapps/amy.example.org/environment
    dump: /webapps/amy.example.org/DB_backups/amy.example.org-20261125T123000Z.dump
    into: live
    confirm: amy.example.org
"""

RETURN = r"""
dump:
  description: The dump.
  returned: success
  type: str
  sample: /webapps/amy.example.org/DB_backups/amy.example.org-20261125T123000Z.dump
taken:
  description: When it was taken.
  returned: success
  type: str
  sample: "2026-11-25T12:30:00+00:00"
release:
  description: The id of the release that was live then, empty when there was none.
  returned: success
  type: str
  sample: 3f2a1b9c0d-9f8e7d6c
server:
  description: The server that it was restored at.
  returned: success
  type: str
  sample: db.example.org:5432
tables:
  description: The rows of each table, in the dump and where it was restored.
  returned: success
  type: dict
  sample: {public.workshops_person: 4711}
rows:
  description: Their sum.
  returned: success
  type: int
  sample: 120934
previous:
  description: What the database that was replaced is called now, V(none) when there was none.
  returned: for O(into=live)
  type: str
  sample: amy_before_20261125t130000z
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup, pg_restore
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_arguments import CONNECTION, DATABASE


def restored(params: dict[str, Any], host: pg_backup.Host, *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    settings = pg_restore.settings_of(params)
    if params["into"] == "scratch":
        return pg_restore.drill(settings, host, params["dump"], check=check)
    result = pg_restore.restore(settings, host, params["dump"], confirm=params["confirm"], check=check)
    name = settings.application.name
    result["diff"] = {
        "before": f"{name}\n",
        "after": f"{name}: {result['dump']}\n"
        + (f"{result['previous']}: what was {name}\n" if result["previous"] else ""),
    }
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **DATABASE,
            "dump": {"type": "path", "default": ""},
            "into": {"type": "str", "choices": ["scratch", "live"], "default": "scratch"},
            "confirm": {"type": "str", "default": ""},
            "restore_connection": CONNECTION,
            "maintenance_database": {"type": "str", "default": "postgres"},
            "restore_origin": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        result = restored(module.params, pg_backup.this_host(runner(module)), check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
