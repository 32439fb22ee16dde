#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: access_log_quiet
version_added: 1.0.0
short_description: Wait until a host has served nobody for a while
description:
  - Waits until a web server's access log has not grown for some time. It is how a host knows that a load balancer it
    has left does send it nothing any more, which the balancer's API does not tell.
  - Never fails because the host is busy. A host that serves what still arrives loses no request either way.
  - The health checks of the balancer must not be written to this log.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  path:
    description: The access log. A log that does not exist is quiet.
    type: path
    required: true
  quiet_for:
    description: Seconds without a line, counted from the call.
    type: float
    default: 15
  timeout:
    description: Seconds to wait, at most.
    type: float
    default: 300
attributes:
  check_mode:
    description: Does not wait.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Wait until the balancer sends no more requests, 5 minutes at most
  carpentries.webapps.access_log_quiet:
    path: /webapps/amy.example.org/logs/nginx_access.log
    quiet_for: 15
    timeout: 300
"""

RETURN = r"""
quiet:
  description: Whether the log was quiet for as long as asked. In check mode, false.
  returned: success
  type: bool
  sample: true
waited:
  description: Seconds of waiting.
  returned: success
  type: float
  sample: 21.5
writes:
  description: How often the log was found to have grown.
  returned: success
  type: int
  sample: 4
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.quiet_log import Quiet, mark_of, wait_for_quiet


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "quiet_for": {"type": "float", "default": 15},
            "timeout": {"type": "float", "default": 300},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        result = Quiet(False, 0.0, 0)
        if not module.check_mode:
            result = wait_for_quiet(
                lambda: mark_of(path),
                module.params["quiet_for"],
                module.params["timeout"],
                clock=time.monotonic,
                sleep=time.sleep,
            )
    except OSError as error:
        module.fail_json(
            msg=f"The access log {path} cannot be looked at: {error.strerror}. "
            "Correct load_balancer_access_log, or run with become: true."
        )
    module.exit_json(changed=False, quiet=result.quiet, waited=round(result.waited, 1), writes=result.writes)


if __name__ == "__main__":
    main()
