#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host reaches a Redis, and whether jobs are safe there."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: redis_info
short_description: Reach a Redis by its URL, and tell whether jobs are safe there
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Connects from the host, with TLS where the URL says so, logs in and asks. Its error says which step failed and what
    to look at. It warns where Redis could lose jobs.
  - It needs nothing on the host but Python.
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
options:
  url:
    description: C(redis://USER:PASSWORD@HOST:PORT/DATABASE), or C(rediss://) with TLS. It is a secret.
    type: str
    required: true
  ca_file:
    description: The file on the host with the authority that signed the server's certificate. Empty for the system's.
    type: path
    default: ""
  databases:
    description: The databases with RQ's jobs. Empty for the one that the URL names.
    type: list
    elements: int
    default: []
"""

EXAMPLES = r"""
- name: check | Reach Redis
  carpentries.webapps.redis_info:
    url: "{{ webapps_redis_url }}"
"""

RETURN = r"""
address:
  description: The URL without user and password.
  returned: success
  type: str
  sample: rediss://amy.abc123.0001.euw1.cache.amazonaws.com:6379/0
version:
  description: The server's version.
  returned: success
  type: str
  sample: 7.0.15
eviction:
  description: Its C(maxmemory_policy). Anything but V(noeviction) may forget jobs when memory runs short.
  returned: success
  type: str
  sample: noeviction
append_only:
  description: Whether it writes an append-only file.
  returned: success
  type: bool
  sample: true
failed_jobs:
  description: The ids of the jobs in RQ's registries of failed jobs, sorted.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import (
    RedisRefusalError,
    connect,
    information,
    parse_url,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_move import failed_jobs


def warnings_of(address: str, said: dict[str, str]) -> list[str]:
    """Why jobs might be lost there."""
    found = []
    policy = said.get("maxmemory_policy", "")
    if policy not in {"", "noeviction"}:
        found.append(
            f"Redis at {address} has maxmemory_policy {policy}: short of memory it forgets jobs. Set it to noeviction "
            "(in ElastiCache: in the parameter group)"
        )
    if said.get("aof_enabled") == "0" and said.get("role") == "master" and said.get("connected_slaves", "0") == "0":
        found.append(
            f"Redis at {address} writes no append-only file and has no replica: jobs since its last snapshot are lost "
            "with the server. Switch appendonly on, or add a replica"
        )
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path", "default": ""},
            "databases": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        failed: set[str] = set()
        for database in module.params["databases"] or [None]:
            address = parse_url(module.params["url"], database)
            client = connect(address, module.params["ca_file"])
            failed |= failed_jobs(client)
            said = information(client)
            client.close()
    except (WebappsError, RedisRefusalError) as error:
        module.fail_json(msg=f"{error}.")
    for warning in warnings_of(str(address), said):
        module.warn(warning)
    module.exit_json(
        changed=False,
        address=str(address),
        version=said.get("redis_version", ""),
        eviction=said.get("maxmemory_policy", ""),
        append_only=said.get("aof_enabled") == "1",
        failed_jobs=sorted(failed),
    )


if __name__ == "__main__":
    main()
