#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_info
short_description: Ask nginx whether users get the site or the maintenance page
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Asks nginx on this host for C(/), as somebody from elsewhere, and for the path that the balancer checks.
  - With O(active) it proves, and fails unless users get what they should within O(timeout). That is the page itself
    with status 503, C(Retry-After) and C(Cache-Control), while the balancer gets 200; or anything but the page.
options:
  root:
    description: The application's directory.
    type: path
    required: true
  domain:
    description: The Host header, and the name for TLS.
    type: str
    required: true
  health_path:
    description: The path that the balancer checks.
    type: str
    required: true
  scheme:
    description: How to ask. The certificate is not verified, as the question is what nginx answers.
    type: str
    choices: [http, https]
    default: http
  port:
    description: The port of nginx on this host.
    type: int
    default: 80
  source:
    description:
      - The address to ask from. The host itself gets the site also during maintenance, and asks from V(127.0.0.1).
    type: str
    default: 127.0.0.2
  active:
    description:
      - What to prove, V(true) that users get the page, V(false) that they do not. Without it nothing is proven.
    type: bool
  timeout:
    description: Seconds within which users must get what they should.
    type: int
    default: 10
  drain_timeout:
    description:
      - With O(active=true), seconds to wait for requests that the application got before the page was shown.
      - V(0) does not wait.
    type: int
    default: 0
attributes:
  check_mode:
    description: Proves nothing and waits for nothing, as nothing was switched.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
seealso:
  - module: carpentries.webapps.maintenance_page
"""

EXAMPLES = r"""
- name: See what users get
  carpentries.webapps.maintenance_info:
    root: /webapps/amy.example.org
    domain: amy.example.org
    health_path: /alive/

- name: Prove that they get the page, and wait until the application has answered all others
  carpentries.webapps.maintenance_info:
    root: /webapps/amy.example.org
    domain: amy.example.org
    health_path: /alive/
    active: true
    drain_timeout: 65
"""

RETURN = r"""
active:
  description: Whether the page's file says that it is shown.
  returned: success
  type: bool
  sample: true
shown_by:
  description: Who shows it, V(operator) or V(deploy). V(none) while it is not shown.
  returned: success
  type: str
  sample: operator
page:
  description: Whether users get the page.
  returned: success
  type: bool
  sample: true
status:
  description: The status that users get for C(/). V(none) without an answer.
  returned: success
  type: int
  sample: 503
retry_after:
  description: What its header C(Retry-After) says.
  returned: success
  type: str
  sample: "300"
health:
  description: The status that the balancer gets. V(none) without an answer.
  returned: success
  type: int
  sample: 200
under_way:
  description: Requests that the application has not answered yet. V(none) where no release is live.
  returned: success
  type: int
  sample: 0
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import maintenance
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import Answer, HttpProbe, over_tcp

UNIX_SOCKETS = Path("/proc/net/unix")
# Seconds for one answer.
PATIENCE = 10.0


def front_of(layout: Layout, params: dict[str, Any]) -> maintenance.Front:
    """nginx on this host, as the module's parameters say how to ask it."""

    def ask(path: str) -> Answer:
        probe = HttpProbe(path, params["domain"], params["scheme"])
        return over_tcp("127.0.0.1", params["port"], params["scheme"], probe, PATIENCE, params["source"])

    def under_way() -> int | None:
        try:
            socket = layout.live_socket.readlink()
        except OSError:
            return None
        return maintenance.under_way(UNIX_SOCKETS.read_text(encoding="utf-8"), socket)

    return maintenance.Front(ask, under_way, time.monotonic, time.sleep)


def run(layout: Layout, front: maintenance.Front, params: dict[str, Any], *, check: bool) -> tuple[dict[str, Any], str]:
    """The module's result and a warning, which may be empty. Raises WebappsError."""
    health_path, active = params["health_path"], params["active"]
    if active is None or check:
        seen = maintenance.observe(layout, front, health_path)
    else:
        seen = maintenance.prove(layout, front, health_path, active=active, timeout=params["timeout"])
    left = front.under_way()
    warnings = [seen.warning]
    if active and not check and params["drain_timeout"]:
        left = maintenance.drain(front, params["drain_timeout"])
        warnings += (
            [f"{left} requests are with the application after {params['drain_timeout']} s still."] if left else []
        )
    result = {
        **maintenance.described(maintenance.look(layout)),
        "page": seen.shows_page,
        "status": seen.answer.status,
        "retry_after": maintenance.header(seen.answer, "Retry-After"),
        "health": seen.health.status,
        "under_way": left,
    }
    return result, " ".join(filter(None, warnings))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "domain": {"type": "str", "required": True},
            "health_path": {"type": "str", "required": True},
            "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
            "port": {"type": "int", "default": 80},
            "source": {"type": "str", "default": "127.0.0.2"},
            "active": {"type": "bool"},
            "timeout": {"type": "int", "default": 10},
            "drain_timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    layout = Layout(Path(module.params["root"]))
    try:
        result, warning = run(layout, front_of(layout, module.params), module.params, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    if warning:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
