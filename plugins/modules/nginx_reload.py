#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_reload
short_description: Have nginx load its configuration, if it has not
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Compares the files of nginx's configuration with the age of its workers, and reloads nginx only if one changed
    since they started. Looked at are the files that C(nginx -T) lists, the directories it includes files from, and
    certificates, keys and modules named in them.
  - Tests the configuration first, and returns when new workers run and no old one takes connections any more.
    Requests under way are finished by the old workers.
  - Nothing needs to be remembered between runs, so a reload that an earlier run did not get to is made up for.
options:
  timeout:
    description: Seconds to wait for the new workers.
    type: int
    default: 30
  pending:
    description:
      - Whether check mode kept the configuration from being written, so that the host does not show the need yet.
      - Used in check mode only.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells whether nginx would be reloaded, and changes nothing.
    support: full
  diff_mode:
    description: Names the files that are not loaded.
    support: full
notes:
  - A reload closes idle keep-alive connections, which a load balancer in front may answer with status 502.
    Take the host out of its target groups first.
"""

EXAMPLES = r"""
- name: Look at whether nginx must be reloaded
  carpentries.webapps.nginx_reload:
  check_mode: true
  register: nginx

- name: Reload nginx, if it has to be
  carpentries.webapps.nginx_reload:
    timeout: 60
"""

RETURN = r"""
running:
  description: Whether nginx runs. Where it does not, check mode reports no reload, as it would start with all of it.
  returned: success
  type: bool
  sample: true
not_loaded:
  description: The files and directories that changed after nginx had read them.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/sites-available/amy.example.org.conf]
workers:
  description: Process ids of the workers that take connections now.
  returned: success
  type: list
  elements: int
  sample: [812, 813]
nginx_test:
  description: What nginx says about a configuration it refuses.
  returned: when nginx refuses the configuration on disk
  type: str
  sample: "nginx: [emerg] unknown directive \"servr\" in /etc/nginx/nginx.conf:12"
error_log:
  description: What nginx wrote into its error log since the signal.
  returned: when the new workers did not come
  type: str
  sample: "[emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)"
"""

from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import nginx
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


@dataclass(frozen=True)
class Request:
    """The module's parameters; ``timeout`` in seconds."""

    timeout: int
    pending: bool
    check: bool


def run(host: nginx.Host | None, request: Request) -> dict[str, Any]:
    """Reload nginx if it has to be; return the module's result. ``host`` is None where nginx is not installed."""
    if host is None:
        if not request.check:
            raise WebappsError("nginx is not installed: run the role nginx first")
        return {"changed": False, "running": False, "not_loaded": [], "workers": []}
    seen = nginx.observe(host)
    foreseen = request.check and request.pending and seen.running
    needed = bool(seen.not_loaded) or foreseen
    workers = seen.workers
    if not request.check and (needed or not seen.running):
        workers = nginx.reload(host, seen, request.timeout)
    result = {
        "changed": needed,
        "running": seen.running,
        "not_loaded": list(seen.not_loaded),
        "workers": list(workers),
    }
    if needed:
        reasons = [*seen.not_loaded, *(["what check mode did not write"] if foreseen else [])]
        result["diff"] = {"before": "", "after": "".join(f"nginx loads {reason}\n" for reason in reasons)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={"timeout": {"type": "int", "default": 30}, "pending": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    binary = module.get_bin_path("nginx")
    request = Request(module.params["timeout"], module.params["pending"], module.check_mode)
    try:
        result = run(nginx.LinuxHost(binary) if binary else None, request)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
