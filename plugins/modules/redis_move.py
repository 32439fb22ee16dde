#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move an application's jobs from one Redis to another."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: redis_move
short_description: Move jobs and schedules from one Redis to another
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Moves keys, one by one, from the source to the target, where programs may have put newer ones already. Queues keep
    their order, older jobs first; registries and schedules are merged; of a job that is in both, the target's stays.
  - A call that was killed anywhere is completed by the next one. No job is doubled and none is lost, also when workers
    have begun to take jobs out of the target meanwhile.
  - What processes say of themselves (workers, locks) stays behind; it has a time to live.
  - It needs nothing on the host but Python, and of Redis the rights that the role
    P(carpentries.webapps.redis#role) gives.
attributes:
  check_mode:
    description: Connects, refuses what it would refuse, and counts what it would move. Waits for nobody.
    support: full
  diff_mode:
    description: Shows the number of jobs in both, before and after.
    support: full
options:
  source:
    description: The URL of the Redis to empty. It is a secret.
    type: str
    required: true
  target:
    description: The URL of the Redis to fill. It is a secret.
    type: str
    required: true
  source_ca_file:
    description: The file on the host with the authority of the source's certificate. Empty for the system's.
    type: path
    default: ""
  target_ca_file:
    description: The same for the target.
    type: path
    default: ""
  databases:
    description: The databases to move, each to the same number. Empty for those that the URLs name.
    type: list
    elements: int
    default: []
  keys:
    description: Patterns of the keys that are data, as Redis's C(SCAN) takes them. V(*) moves caches and sessions too.
    type: list
    elements: str
    default: ["rq:*"]
  state:
    description:
      - V(checked) refuses what cannot work. V(begun) notes in the target that from now on its keys are this
        application's; give it before programs begin to write there. V(moved) waits until no program is connected to
        the source any more, and moves. V(finished) does so too and removes the note; give it once every program has
        the new address, for what came into the source after the first call.
    type: str
    choices: [checked, begun, moved, finished]
    default: moved
  merge:
    description: Whether keys that no earlier call brought there may be in the target.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until no program is connected to the source.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: move | Take scheduled jobs along
  carpentries.webapps.redis_move:
    source: redis://127.0.0.1:6379/0
    target: "{{ webapps_redis_url }}"
"""

RETURN = r"""
keys:
  description: How many keys were moved, or would be.
  returned: success
  type: int
  sample: 211
connected:
  description: The programs that are connected to the source, before anything is waited for.
  returned: success
  type: list
  elements: str
  sample: ["10.0.1.11:51234 web (last command rpush)"]
before:
  description: What of jobs was in the source and in the target.
  returned: success
  type: dict
  contains:
    source:
      description: What is in the source.
      type: dict
      sample: {jobs: 42, queued: 7, scheduled: 35, failed: 0}
    target:
      description: What is in the target.
      type: dict
      sample: {jobs: 1, queued: 1, scheduled: 0, failed: 0}
after:
  description: What of jobs is there now.
  returned: success
  type: dict
  contains:
    source:
      description: What is in the source.
      type: dict
      sample: {jobs: 0, queued: 0, scheduled: 0, failed: 0}
    target:
      description: What is in the target.
      type: dict
      sample: {jobs: 43, queued: 8, scheduled: 35, failed: 0}
"""

import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import redis_move
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import connect, parse_url
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_move import Counted, Side


def sides(parameters: dict[str, Any], database: int | None) -> tuple[Side, Side, int]:
    """Both ends of one database, and the source's number of it."""
    found = []
    for end in ("source", "target"):
        address = parse_url(parameters[end], database)
        found.append((Side(connect(address, parameters[f"{end}_ca_file"]), str(address)), address.database))
    (source, number), (target, _number) = found
    return source, target, number


def run(parameters: dict[str, Any], check: bool) -> dict[str, Any]:
    """What the module returns. Raises WebappsError."""
    patterns = parameters["keys"]
    before: dict[str, Counted] = {"source": Counted(), "target": Counted()}
    after = dict(before)
    keys = 0
    changed = False
    moves = parameters["state"] in {"moved", "finished"}
    ends = [sides(parameters, database) for database in parameters["databases"] or [None]]
    # One server under two names: there is nothing to move, only programs to tell.
    ends = [(source, target, number) for source, target, number in ends if not redis_move.same(source, target)]
    for source, target, _number in ends:
        redis_move.assert_may_move(source, target, patterns, merge=parameters["merge"])
        keys += len(redis_move.data_keys(source, patterns))
        before["source"] += redis_move.count(source, patterns)
        before["target"] += redis_move.count(target, patterns)
    connected = [who for source, _target, number in ends for who in redis_move.connected(source, number)]
    if moves and not check:
        for source, _target, number in ends:
            redis_move.await_unused(source, number, parameters["timeout"], time.monotonic, time.sleep)
    for source, target, _number in ends:
        # Who is connected may write before it is the target's.
        if parameters["state"] == "begun" and (connected or redis_move.data_keys(source, patterns)):
            changed |= not redis_move.begun(source, target)
            if not check:
                redis_move.begin(source, target)
        if moves and not check:
            redis_move.move(source, target, patterns)
        if parameters["state"] == "finished" and not check:
            redis_move.finish(target)
        after["source"] += redis_move.count(source, patterns)
        after["target"] += redis_move.count(target, patterns)
    if moves:
        changed = keys > 0
        if check:
            after = {"source": Counted(), "target": before["source"] + before["target"]}
    counts = {
        "before": {end: asdict(counted) for end, counted in before.items()},
        "after": {end: asdict(counted) for end, counted in after.items()},
    }
    return {"changed": changed, "keys": keys, "connected": connected, "diff": counts, **counts}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True, "no_log": True},
            "target": {"type": "str", "required": True, "no_log": True},
            "source_ca_file": {"type": "path", "default": ""},
            "target_ca_file": {"type": "path", "default": ""},
            "databases": {"type": "list", "elements": "int", "default": []},
            "keys": {"type": "list", "elements": "str", "default": ["rq:*"], "no_log": False},
            "state": {"type": "str", "choices": ["checked", "begun", "moved", "finished"], "default": "moved"},
            "merge": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
