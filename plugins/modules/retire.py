#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retire programs on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: retire
short_description: Let programs finish their work and stop
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Tells every generation of the programs to stop, once, waits until the work under way is finished, and removes them
    from supervisor. RQ's workers finish the job that they are in and take no further one.
  - Nothing but the programs' stop signal is sent, and only to the processes that supervisor started, so the process
    that runs a job is left alone. supervisor kills after the program's own C(stop_wait) only.
  - A job's process that lost its worker, because that was killed, is waited for like the others.
  - Everything is decided from what is found on the host, so a call that was killed is completed by the next one. The
    module M(carpentries.webapps.publish) starts a program again.
attributes:
  check_mode:
    description: Returns the same steps and does none of them. A supervisor that does not run becomes a warning.
    support: full
  diff_mode:
    description: Shows the generations and their states.
    support: full
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
  programs:
    description: The programs to retire; V(*) stands for any characters. A program that serves is refused.
    type: list
    elements: str
    required: true
  keep:
    description: Programs of these that stay; V(*) stands for any characters.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the work under way.
    type: int
    default: 60
  must_end:
    description:
      - Whether work that goes on after O(timeout) is an error. With V(false) it finishes behind the call, is returned
        in RV(retiring), and the next publish or call removes what is left of it.
    type: bool
    default: true
  supervisor_socket:
    description: The socket of supervisord.
    type: path
    default: /var/run/supervisor.sock
  supervisor_directory:
    description: The directory of supervisor's program files.
    type: path
    default: /etc/supervisor/conf.d
notes:
  - Run as root.
seealso:
  - module: carpentries.webapps.publish
"""

EXAMPLES = r"""
- name: stop | Let all workers finish their jobs
  carpentries.webapps.retire:
    root: /webapps/amy.example.org
    programs: [rqworker, rqworker_*]
    timeout: 660

- name: publish | Retire the pools that are no longer wanted
  carpentries.webapps.retire:
    root: /webapps/amy.example.org
    programs: [rqworker, rqworker_*]
    keep: [rqworker_mail]
    must_end: false
"""

RETURN = r"""
steps:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [Let rqworker-0123456789-89abcdef-a1b2c3d4 finish its work and stop]
retiring:
  description: The generations' programs in supervisor that still finish their work.
  type: list
  elements: str
  returned: success, and when they did not end in time
  sample: []
"""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import Files, alone
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.retirement import (
    Retirement,
    Tools,
    retire,
    started_by_supervisor,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Supervisor

ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "programs": {"type": "list", "elements": "str", "required": True},
    "keep": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 60},
    "must_end": {"type": "bool", "default": True},
    "supervisor_socket": {"type": "path", "default": "/var/run/supervisor.sock"},
    "supervisor_directory": {"type": "path", "default": "/etc/supervisor/conf.d"},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    parameters = module.params
    request = Retirement(
        layout=Layout(Path(parameters["root"])),
        names=tuple(parameters["programs"]),
        keep=tuple(parameters["keep"]),
        timeout=parameters["timeout"],
        must_end=parameters["must_end"],
        conf_dir=Path(parameters["supervisor_directory"]),
    )
    supervisor = Supervisor(parameters["supervisor_socket"])
    tools = Tools(supervisor, Files(), started_by_supervisor, time.monotonic, time.sleep)
    lock = request.layout.root / ".publish.lock"
    try:
        with nullcontext() if module.check_mode else alone(lock, request.timeout, time.monotonic, time.sleep):
            outcome = retire(request, tools, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        steps=outcome.steps,
        retiring=outcome.retiring,
        diff={"before": outcome.before, "after": outcome.after},
    )


if __name__ == "__main__":
    main()
