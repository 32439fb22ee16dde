#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: legacy_program
short_description: Retire a program of a server laid out by hand when its last work is done
version_added: 1.0.0
description:
  - Takes programs of supervisor that this collection did not write out of service. Their files are kept in C(adopted/).
  - supervisor kills what does not stop within the program's own patience, 10 seconds unless somebody raised it. So the
    process is told to stop by a signal and gets O(patience) to finish its requests or its job.
  - gunicorn is retired when no worker of nginx answers by an earlier configuration any more.
extends_documentation_fragment:
  - carpentries.webapps.legacy_server
options:
  kind:
    description: Which programs.
    type: str
    choices: [gunicorn, rqworker, rqscheduler]
    required: true
  state:
    description: V(started) brings programs back that were V(retired), when their successors do not work.
    type: str
    choices: [retired, started]
    default: retired
  patience:
    description: Seconds that the last work may take. After them the call fails, and the work goes on.
    type: int
    default: 660
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Shows a line for each step.
    support: full
author:
  - The Carpentries webapps maintainers (@carpentries)
notes:
  - Run as root.
seealso:
  - module: carpentries.webapps.legacy_info
"""

EXAMPLES = r"""
- name: Let the old workers finish their jobs and end
  carpentries.webapps.legacy_program:
    root: /webapps/amy.example.org
    programs: [gunicorn, rqworker, rqscheduler]
    app: config.wsgi:application
    certificate: /etc/letsencrypt/live/amy.example.org/fullchain.pem
    kind: rqworker
    patience: 660
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode, a line each.
  returned: success
  type: list
  elements: str
  sample: ["stop the program rqworker after its last work, and remove it from supervisor"]
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_processes import processes
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_request import ARGUMENTS, look
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_retirement import (
    Tools,
    await_old_nginx_workers,
    restore,
    retire,
    terminate,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_supervisor import GUNICORN, KINDS
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Aside, Places
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Supervisor


def carried_out(params: dict[str, Any], tools: Tools, nginx_binary: str | None, *, check: bool) -> list[str]:
    """The steps that were taken, or would be. Raises WebappsError."""
    places, kind = Places(), params["kind"]
    if params["state"] == "started":
        return restore(kind, Aside(Layout(Path(params["root"]))), places, tools, check=check)
    layout, seen = look(params, nginx_binary)
    steps = []
    for program in seen.of_kind(kind):
        if kind == GUNICORN and not check and not await_old_nginx_workers(tools, params["patience"]):
            raise WebappsError(
                f"Workers of nginx still answer by the configuration of before, after {params['patience']} s. Both "
                "go on: see `ps -C nginx`, and run the playbook again when they have ended."
            )
        steps += retire(program, Aside(layout), places, tools, params["patience"], check=check)
    return steps


def main() -> None:
    module = AnsibleModule(
        {
            **ARGUMENTS,
            "kind": {"type": "str", "choices": list(KINDS), "required": True},
            "state": {"type": "str", "choices": ["retired", "started"], "default": "retired"},
            "patience": {"type": "int", "default": 660},
        },
        supports_check_mode=True,
    )
    tools = Tools(Supervisor(), processes, terminate, time.monotonic, time.sleep)
    try:
        steps = carried_out(module.params, tools, module.get_bin_path("nginx"), check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(
        changed=bool(steps), steps=steps, diff={"before": "", "after": "".join(f"{step}\n" for step in steps)}
    )


if __name__ == "__main__":
    main()
