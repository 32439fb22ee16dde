#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_backup
short_description: Dump a PostgreSQL database and prove the dump
version_added: 1.0.0
description:
  - Dumps with C(pg_dump) in custom format under a temporary name, reads the archive to its end, compares its list with
    the live tables, and only then names it and writes its SHA-256 and its description beside it.
  - The description holds the number of rows of every table, counted in the snapshot that was dumped, so that
    M(carpentries.webapps.pg_restore) can prove that a restored database is what was dumped.
  - Refuses before anything starts when there is no connection, a client program of another major version than the
    server, too little disk, or a table that the user may not read.
  - Then removes the dumps that O(keep) and O(keep_days) let go, and uploads the new one to S3 where O(s3) says so.
  - Two calls for one application never dump at once.
author:
  - The Carpentries webapps maintainers (@carpentries)
extends_documentation_fragment:
  - carpentries.webapps.pg_database
options:
  reason:
    description: What the dump is taken for. The newest that a V(deploy) took always stays.
    type: str
    choices: [deploy, manual, timer]
    default: manual
  accept_empty:
    description: Whether a database without tables is nothing to dump, rather than an error.
    type: bool
    default: false
  exclude_table_data:
    description: Tables whose rows are left out, as V(table) or V(schema.table).
    type: list
    elements: str
    default: []
  lock_wait_timeout:
    description: Seconds to wait for a table that a migration has locked.
    type: int
    default: 10
  minimum_size:
    description: Bytes that a dump has at least.
    type: int
    default: 1024
  disk_reserve:
    description: MiB that stay free on the disk of the dumps.
    type: int
    default: 256
  keep:
    description: How many of the newest proven dumps stay. The newest one always does.
    type: int
    default: 7
  keep_days:
    description: Dumps younger than this many days stay besides.
    type: int
    default: 14
  s3:
    description: The bucket that dumps are uploaded to besides. Objects there are never removed.
    type: dict
    suboptions:
      bucket:
        description: Its name; none, and nothing is uploaded.
        type: str
      prefix:
        description: What the names of objects begin with, for example V(amy/production).
        type: str
      encryption:
        description: How S3 encrypts them.
        type: str
        choices: [AES256, aws:kms]
        default: AES256
      kms_key_id:
        description: The KMS key; without it the account's own for S3.
        type: str
      region:
        description: The bucket's region; without it boto3's own configuration.
        type: str
      endpoint_url:
        description: The address of a service other than AWS's.
        type: str
attributes:
  check_mode:
    description: Connects and refuses what a dump would refuse, and dumps nothing.
    support: full
  diff_mode:
    description: Shows the names of the dumps that come and go.
    support: full
"""

EXAMPLES = r"""
- name: Dump the database that the application uses
  carpentries.webapps.pg_backup:
    root: /webapps/amy.example.org
    environment_file: /webapps/amy.example.org/environment

- name: Dump as a user that may read all tables, over verified TLS, and upload
  carpentries.webapps.pg_backup:
    root: /webapps/amy.example.org
    environment_file: /webapps/amy.example.org/environment
    environment_variables:
      host: AMY_DATABASE_HOST
      name: AMY_DATABASE_NAME
      user: AMY_DATABASE_USER
      password: AMY_DATABASE_PASSWORD
    connection:
      user: backup
      password: "{{ vault_backup_password }}"
      sslmode: verify-full
      sslrootcert: /etc/ssl/certs/rds-global-bundle.pem
    s3:
      bucket: amy-backups
      encryption: aws:kms
"""

RETURN = r"""
dump:
  description: The dump, V(none) in check mode and for a database without tables.
  returned: success
  type: dict
  sample:
    path: /webapps/amy.example.org/DB_backups/amy.example.org-20261125T123000Z.dump
    taken: "2026-11-25T12:30:00+00:00"
    reason: deploy
    release: 3f2a1b9c0d-9f8e7d6c
    database: amy
    size: 1048576
    sha256: 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
    tables: 84
    rows: 120934
proven:
  description: Whether there is nothing that a migration could destroy and no dump has.
  returned: success
  type: bool
  sample: true
removed:
  description: The files that retention removed.
  returned: success
  type: list
  elements: str
  sample:
    - /webapps/amy.example.org/DB_backups/amy.example.org-20261101T020000Z.dump
uploaded:
  description: Where the dump is in S3.
  returned: when it was uploaded
  type: str
  sample: s3://amy-backups/amy.example.org-20261125T123000Z.dump
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import pg_backup
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.pg_arguments import DATABASE
from ansible_collections.carpentries.webapps.plugins.module_utils.postgresql import needs_environment


def backed_up(params: dict[str, Any], host: pg_backup.Host, *, check: bool) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    if check and needs_environment(params["connection"] or {}) and not Path(params["environment_file"]).exists():
        return {
            "changed": True,
            "proven": False,
            "dump": None,
            "removed": [],
            "msg": f"Where the database is will be known once {params['environment_file']} is written.",
        }
    settings = pg_backup.settings_of(params, reason=params["reason"], accept_empty=params["accept_empty"])
    result = pg_backup.backup(settings, host, check=check)
    name = result["dump"]["path"] if result["dump"] else "a new dump" if result["changed"] else ""
    result["diff"] = {
        "before": "".join(f"{path}\n" for path in result["removed"]),
        "after": f"{name}\n" if name else "",
    }
    return {"proven": not check, **result}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **DATABASE,
            "reason": {"type": "str", "choices": ["deploy", "manual", "timer"], "default": "manual"},
            "accept_empty": {"type": "bool", "default": False},
            "exclude_table_data": {"type": "list", "elements": "str", "default": []},
            "lock_wait_timeout": {"type": "int", "default": 10},
            "minimum_size": {"type": "int", "default": 1024},
            "disk_reserve": {"type": "int", "default": 256},
            "keep": {"type": "int", "default": 7},
            "keep_days": {"type": "int", "default": 14},
            "s3": {
                "type": "dict",
                "options": {
                    "bucket": {"type": "str"},
                    "prefix": {"type": "str"},
                    "encryption": {"type": "str", "choices": ["AES256", "aws:kms"], "default": "AES256"},
                    # The name of a key, not a key.
                    "kms_key_id": {"type": "str", "no_log": False},
                    "region": {"type": "str"},
                    "endpoint_url": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    try:
        result = backed_up(module.params, pg_backup.this_host(runner(module)), check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
