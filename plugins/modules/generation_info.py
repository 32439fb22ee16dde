#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an application runs on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: generation_info
short_description: Tell which generations of an application run on a host
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Reads what is, from supervisor, its files, the links and the processes, never what an earlier run remembered. It is
    for a table of a fleet's state, and for the proof that every host runs the same release.
  - A host without the application, or without supervisor, is described and not refused.
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
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
- name: finish | Look at what the host runs
  carpentries.webapps.generation_info:
    root: /webapps/amy.example.org
  register: __deploy_generations

- name: finish | Assert that it runs the release and nothing else
  ansible.builtin.assert:
    that: __deploy_generations.releases == ['0123456789-89abcdef']
"""

RETURN = r"""
releases:
  description:
    - The releases that processes of the application run, without those that retire, sorted. More than one means that
      a publish is not complete.
  type: list
  elements: str
  returned: success
  sample: [0123456789-89abcdef]
live:
  description: What C(live.sock) points at. V(none) on a host where nothing serves.
  type: dict
  returned: success
  contains:
    generation:
      description: The generation's id.
      type: str
      sample: 0123456789-89abcdef-a1b2c3d4
    release:
      description: The release's id.
      type: str
      sample: 0123456789-89abcdef
    socket:
      description: The path of its socket.
      type: str
      sample: /run/webapps/amy.example.org/0123456789-89abcdef-a1b2c3d4.sock
    listening:
      description: Whether that socket exists.
      type: bool
      sample: true
repo:
  description: The release that the link C(repo) points at. V(none) without a link.
  type: str
  returned: success
  sample: 0123456789-89abcdef
environment:
  description: The digest of the environment that the link C(environment) points at. V(none) without a link.
  type: str
  returned: success
  sample: 76543210
programs:
  description: The generations of every program, those that retire included.
  type: list
  elements: dict
  returned: success
  contains:
    program:
      description: The program's name.
      type: str
      sample: gunicorn
    generation:
      description: The generation's id.
      type: str
      sample: 0123456789-89abcdef-a1b2c3d4
    release:
      description: The release's id.
      type: str
      sample: 0123456789-89abcdef
    running_from:
      description: The directories that its processes really run in, resolved by the kernel.
      type: list
      elements: str
      sample: [/webapps/amy.example.org/releases/0123456789-89abcdef]
    state:
      description: supervisor's word, or several if its processes differ, or C(ABSENT) if supervisor does not know it.
      type: str
      sample: RUNNING
    proven:
      description: Whether it has shown on this host that it works.
      type: bool
      sample: true
    retiring:
      description: Whether it was told to stop, or is about to be.
      type: bool
      sample: false
    processes:
      description: Its processes.
      type: list
      elements: dict
      sample: [{name: gunicorn-0123456789-89abcdef-a1b2c3d4, state: RUNNING, pid: 4711, uptime: 86400}]
supervisor:
  description: Empty if supervisord answers, otherwise why it does not.
  type: str
  returned: success
  sample: ""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.generations import running_now
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import (
    Supervisor,
    SupervisorNotRunningError,
)


def main() -> None:
    module = AnsibleModule(
        {
            "root": {"type": "path", "required": True},
            "supervisor_socket": {"type": "path", "default": "/var/run/supervisor.sock"},
            "supervisor_directory": {"type": "path", "default": "/etc/supervisor/conf.d"},
        },
        supports_check_mode=True,
    )
    layout, conf_dir = Layout(Path(module.params["root"])), Path(module.params["supervisor_directory"])
    silence = ""
    try:
        try:
            processes = Supervisor(module.params["supervisor_socket"]).processes()
        except SupervisorNotRunningError as error:
            processes, silence = [], error.message
        described = running_now(layout, processes, conf_dir=conf_dir)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(changed=False, supervisor=silence, **described)


if __name__ == "__main__":
    main()
