#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the code that serves survives pending migrations."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: migration_gate
short_description: Judge whether the running code survives pending migrations
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - During a roll the old code runs on the new schema. This asks django-migration-linter and squawk about the SQL of the
    pending migrations, drops what they find on tables and columns that the same step creates, which the old code does
    not know, and adds what they cannot read.
  - A migration is C(compatible); C(slow), when it holds a lock for as long as a table is read, which C(lock_timeout)
    bounds; to C(confirm), when only a person can tell, as for V(RunPython) that may reach what the old code knows; or
    C(incompatible).
  - Nothing is changed and no database is asked.
options:
  pending:
    description: The pending migrations, as M(carpentries.webapps.migration_info) returns them.
    type: list
    elements: dict
    required: true
  linters:
    description: The virtual environment on this host that has django-migration-linter and squawk-cli.
    type: path
    required: true
  pg_version:
    description: The version of the PostgreSQL server, for rules that depend on it.
    type: str
    default: "15"
  allowed:
    description: Migrations that a person has confirmed, as C(app.name).
    type: list
    elements: str
    default: []
  applied:
    description: Whether they are applied already, and the question is whether older code may serve again.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
requirements:
  - django-migration-linter 6 and squawk-cli 2 in O(linters)
seealso:
  - module: carpentries.webapps.migration_info
"""

EXAMPLES = r"""
- name: gate | Judge what is pending
  carpentries.webapps.migration_gate:
    pending: "{{ migrations.pending }}"
    linters: /var/lib/webapps/amy.example.org/linters
    allowed: [workshops.0259_remove_deprecated_training_requirements]
  register: gate

- name: gate | Refuse what the running code does not survive
  ansible.builtin.assert:
    that: gate.refusal == ''
    fail_msg: "{{ gate.refusal }}"
"""

RETURN = r"""
verdicts:
  description: The verdict on each migration, in the order in which they would be applied.
  returned: success
  type: list
  elements: dict
  contains:
    migration:
      description: The migration, as C(app.name).
      type: str
      sample: workshops.0256_auto_20230220_2051
    level:
      description: V(compatible), V(slow), V(confirm) or V(incompatible).
      type: str
      sample: incompatible
    reasons:
      description: The linters' rules and the statements they are about, the worst first.
      type: list
      elements: str
      sample: ['ban-drop-column: ALTER TABLE "workshops_person" DROP COLUMN "may_contact" CASCADE;']
refusal:
  description: Why they must not be applied while the old code serves, and the ways through. Empty if they may.
  returned: success
  type: str
  sample: ""
"""

import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_gate import (
    judge,
    parsed_pending,
    refusal,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.migration_linters import Linters


def judged(run: Run, params: dict[str, Any]) -> dict[str, Any]:
    """The result of the module. Raises WebappsError."""
    migrations = parsed_pending(params["pending"])
    with tempfile.TemporaryDirectory() as scratch:
        linters = Linters(run, Path(params["linters"]), Path(scratch), params["pg_version"])
        verdicts = judge(migrations, linters.findings(migrations)) if migrations else []
    return {
        "verdicts": [
            {"migration": str(verdict.migration), "level": verdict.level, "reasons": list(verdict.reasons)}
            for verdict in verdicts
        ],
        "refusal": refusal(verdicts, params["allowed"], applied=params["applied"]),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "pending": {"type": "list", "elements": "dict", "required": True},
            "linters": {"type": "path", "required": True},
            "pg_version": {"type": "str", "default": "15"},
            "allowed": {"type": "list", "elements": "str", "default": []},
            "applied": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = judged(runner(module), module.params)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
