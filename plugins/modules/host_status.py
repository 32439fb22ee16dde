#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an application is on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_status
short_description: Tell how an application is on a host
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Looks at the links, the ledger of releases, the programs, the maintenance page, the disk, the certificate, the dumps
    and what timers start, and asks the host's own front for the health path. It changes nothing and judges nothing.
  - A host on which something is broken, or nothing is installed yet, is described. What cannot be told is among
    RV(troubles) and hides nothing else.
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
  serves:
    description: Whether the host is a web host, so that its front is asked and its certificate is read.
    type: bool
    default: false
  health_path:
    description: The path to ask for.
    type: str
    default: /
  health_expect:
    description:
      - Text that a header or the body of the answer must contain. C({release}) in it stands for the release that is
        live. Empty accepts any answer with status 200.
    type: str
    default: "{release}"
  front_scheme:
    description: How to ask. The certificate is not verified, as the question is what the application answers.
    type: str
    choices: [http, https]
    default: http
  front_port:
    description: The port of nginx on this host.
    type: int
    default: 80
  timeout:
    description: Seconds for each read of the answer.
    type: int
    default: 10
  certificate:
    description: The file with the certificate that nginx serves. Empty where TLS ends elsewhere.
    type: path
  supervisor_socket:
    description: The socket of supervisord.
    type: path
    default: /var/run/supervisor.sock
  supervisor_directory:
    description: The directory of supervisor's program files.
    type: path
    default: /etc/supervisor/conf.d
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
notes:
  - Run as root.
seealso:
  - module: carpentries.webapps.generation_info
  - module: carpentries.webapps.load_balancer_info
"""

EXAMPLES = r"""
- name: Look at a web host
  carpentries.webapps.host_status:
    root: /webapps/amy.example.org
    serves: true
    health_path: /alive/
  register: seen

- name: Look at a worker host
  carpentries.webapps.host_status:
    root: /webapps/amy.example.org
"""

RETURN = r"""
release:
  description: The release that serves, or without web processes the one that C(repo) points at. V(none) for none.
  returned: success
  type: str
  sample: 0123456789-89abcdef
version:
  description: What it was asked for by, as the ledger knows it.
  returned: success
  type: str
  sample: v4.2.0
commit:
  description: Which commit that was.
  returned: success
  type: str
  sample: 3f2a1b9c0d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a
since:
  description: When it was published.
  returned: success
  type: str
  sample: "2026-03-01T14:30:00+00:00"
releases:
  description: The releases that processes run, without those that retire, sorted.
  returned: success
  type: list
  elements: str
  sample: [0123456789-89abcdef]
live:
  description: What C(live.sock) points at, as in M(carpentries.webapps.generation_info).
  returned: success
  type: dict
  sample: {generation: 0123456789-89abcdef-a1b2c3d4, release: 0123456789-89abcdef, listening: true}
repo:
  description: The release that the link C(repo) points at.
  returned: success
  type: str
  sample: 0123456789-89abcdef
environment:
  description: The digest of the environment that the link C(environment) points at.
  returned: success
  type: str
  sample: "76543210"
programs:
  description: The generations of every program, as in M(carpentries.webapps.generation_info).
  returned: success
  type: list
  elements: dict
  sample: [{program: gunicorn, generation: 0123456789-89abcdef-a1b2c3d4, state: RUNNING, retiring: false}]
supervisor:
  description: Empty if supervisord answers, otherwise why it does not.
  returned: success
  type: str
  sample: ""
health:
  description: What the front answered. V(none) without O(serves).
  returned: success
  type: dict
  sample: {url: "http://127.0.0.1:80/alive/", status: 200, error: "", expected: "", healthy: true}
maintenance:
  description: Whether the page is shown, and by whom.
  returned: success
  type: dict
  sample: {active: false, shown_by: null}
disk:
  description: The file system of O(root) in bytes, and how full it is in percent.
  returned: success
  type: dict
  sample: {free: 12884901888, total: 21474836480, percent: 41}
certificate:
  description: The certificate. V(none) without O(certificate).
  returned: success
  type: dict
  sample: {path: /etc/ssl/amy.pem, names: [amy.example.org], ends: "2026-05-01T00:00:00+00:00", self_signed: false}
dump:
  description: The newest proven dump on this host. V(none) for none.
  returned: success
  type: dict
  sample: {taken: "2026-03-01T02:15:00+00:00", reason: timer, size: 123456}
failed_units:
  description: The units of the application, and of certbot, whose last run failed, and what their programs said last.
  returned: success
  type: list
  elements: dict
  sample: [{unit: webapps-pg-backup-amy.example.org.service, said: "pg_dump: error: connection refused"}]
troubles:
  description: What could not be told, and why.
  returned: success
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.host_status import Host, look
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer, HttpProbe, over_tcp
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Supervisor


def main() -> None:
    module = AnsibleModule(
        {
            "root": {"type": "path", "required": True},
            "serves": {"type": "bool", "default": False},
            "health_path": {"type": "str", "default": "/"},
            "health_expect": {"type": "str", "default": "{release}"},
            "front_scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "front_port": {"type": "int", "default": 80},
            "timeout": {"type": "int", "default": 10},
            "certificate": {"type": "path"},
            "supervisor_socket": {"type": "path", "default": "/var/run/supervisor.sock"},
            "supervisor_directory": {"type": "path", "default": "/etc/supervisor/conf.d"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    layout = Layout(Path(wanted["root"]))

    def ask() -> Answer:
        probe = HttpProbe(wanted["health_path"], layout.domain)
        return over_tcp("127.0.0.1", wanted["front_port"], wanted["front_scheme"], probe, wanted["timeout"])

    host = Host(
        layout=layout,
        conf_dir=Path(wanted["supervisor_directory"]),
        processes=Supervisor(wanted["supervisor_socket"]).processes,
        run=runner(module),
        ask=ask if wanted["serves"] else None,
        expect=wanted["health_expect"],
        certificate=Path(wanted["certificate"]) if wanted["serves"] and wanted["certificate"] else None,
    )
    module.exit_json(changed=False, **look(host))


if __name__ == "__main__":
    main()
