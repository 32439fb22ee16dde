#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: deploy_lock
short_description: Let one deploy of a fleet work at a time, and remember what became of each
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Keeps one lock for one application, on one host that all controllers reach, usually the builder. It belongs to one
    run of ansible-playbook and says whose that is, what it deploys, since when, and when it last gave a sign of life.
  - The file appears in full or not at all, and of several who want it one gets it.
  - A lock is stale, and the next one takes it over with a warning, when its last heartbeat is older than its O(expiry),
    or when the controller that asks is the one that took it and the process that holds it does not run any more. All
    times are those of the host that has the lock.
  - A freeze keeps deploys from beginning until a person lifts it. It does not expire and nobody waits for it.
  - The end of each deploy is a line of C(deploys.jsonl) beside the lock, which keeps the last 200. That line ends the
    lock, so a call that is killed anywhere leaves a lock that is held, or a deploy that is recorded, once.
  - An action plugin on the controller adds who asks, and waits. The module on the host does not wait.
options:
  directory:
    description: Where lock, freeze and history are. It is made when it is missing, for root alone.
    type: path
    required: true
  domain:
    description: The application's domain, for messages.
    type: str
    required: true
  state:
    description:
      - V(held) takes the lock for this run. A run that has it keeps it.
      - V(renewed) writes a heartbeat. It fails, with RV(refused=lost), if the lock is not this run's any more.
      - V(released) gives back this run's lock and records O(result). Another run's lock stays, and none is no failure.
      - V(broken) takes the lock from the run O(broken_run), and records that.
      - V(frozen) and V(unfrozen) keep deploys from beginning, and let them begin again.
      - V(observed) changes nothing.
    type: str
    choices: [held, renewed, released, broken, frozen, unfrozen, observed]
    default: observed
  version:
    description: For O(state=held), what is deployed.
    type: str
    default: ""
  reason:
    description: For O(state=held), what the lock is for; for O(state=frozen), why, which is required there.
    type: str
    default: ""
  expiry:
    description: For O(state=held), seconds without a heartbeat after which the lock is stale.
    type: int
    default: 3600
  wait:
    description: For O(state=held), seconds to wait for a lock that is held. V(0) refuses at once.
    type: int
    default: 0
  result:
    description: For O(state=released), what became of the deploy. Required there.
    type: str
    choices: [success, failed, rolled_back, nothing]
  message:
    description: For O(state=released), more about it. It becomes one line of at most 300 characters.
    type: str
    default: ""
  release:
    description: For O(state=released), the id of the release, where one was named.
    type: str
    default: ""
  broken_run:
    description: For O(state=broken), the run whose lock is broken, as refusals name it. Required there.
    type: str
  unlock:
    description: For messages, the command that lifts a freeze, and with C(-e unlock_run=RUN) after it breaks a lock.
    type: str
    default: ansible-playbook playbooks/unlock.yml -i INVENTORY
  entries:
    description: How many of the last deploys are returned.
    type: int
    default: 10
  owner:
    description: Who asks. The action plugin fills it; do not give it.
    type: dict
    suboptions:
      owner:
        description: The user and the controller, and what CI says of itself.
        type: str
        required: true
      run:
        description: The id of the run of ansible-playbook.
        type: str
        required: true
      controller:
        description: What tells whether two runs see the same processes; empty if that is unknown.
        type: str
        default: ""
      pid:
        description: The number of the run's process.
        type: int
        default: 0
      started:
        description: When that process started, as its controller counts.
        type: str
        default: ""
  ended_runs:
    description: Runs that the controller knows to have ended. The action plugin fills it; do not give it.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: >-
      Writes nothing and says what would happen. A lock that is held and a freeze are warnings then, and V(renewed) does
      not fail.
    support: full
  diff_mode:
    description: Shows the lock, or the freeze, before and after.
    support: full
notes:
  - Run as root.
"""

EXAMPLES = r"""
- name: Take the lock, waiting up to ten minutes
  carpentries.webapps.deploy_lock:
    directory: /var/lib/webapps/amy.example.org/deploys
    domain: amy.example.org
    state: held
    version: v4.2.0
    reason: deploy
    wait: 600

- name: Give it back
  carpentries.webapps.deploy_lock:
    directory: /var/lib/webapps/amy.example.org/deploys
    domain: amy.example.org
    state: released
    result: success
    release: 3f2a1b9c0d-9f8e7d6c

- name: See who deploys, and what became of the last deploys
  carpentries.webapps.deploy_lock:
    directory: /var/lib/webapps/amy.example.org/deploys
    domain: amy.example.org
  register: deploys
"""

RETURN = r"""
lock:
  description: The lock, or null. In check mode the one that would be.
  returned: always
  type: dict
  contains:
    owner:
      description: Who holds it.
      type: str
      sample: alice@laptop
    run:
      description: The run of ansible-playbook that holds it.
      type: str
      sample: r3f2a1b9c0d5e
    controller:
      description: Where that process is, hashed.
      type: str
      sample: 9f8e7d6c5b4a3928
    pid:
      description: Its number.
      type: int
      sample: 4711
    started:
      description: When it started, as its controller counts.
      type: str
      sample: "123456"
    version:
      description: What is deployed.
      type: str
      sample: v4.2.0
    reason:
      description: What the lock is for.
      type: str
      sample: deploy
    acquired_at:
      description: Since when, UTC.
      type: str
      sample: "2026-03-01T12:00:00.000Z"
    heartbeat:
      description: The last sign of life, UTC.
      type: str
      sample: "2026-03-01T12:04:00.000Z"
    expiry:
      description: Seconds without a heartbeat after which it is stale.
      type: int
      sample: 3600
stale:
  description: Why the lock would be taken over; empty while it counts.
  returned: success
  type: str
  sample: ""
freeze:
  description: The freeze, or null.
  returned: always
  type: dict
  contains:
    owner:
      description: Who froze deploys.
      type: str
      sample: bob@desk
    reason:
      description: Why.
      type: str
      sample: workshop week
    frozen_at:
      description: Since when, UTC.
      type: str
      sample: "2026-03-01T12:00:00.000Z"
refused:
  description: >-
    V(held) or V(frozen) where O(state=held) was refused, or would be; V(lost) where O(state=renewed) found that the
    lock is not this run's any more.
  returned: success, and when refused
  type: str
  sample: ""
history:
  description: The last deploys, the latest last.
  returned: success
  type: list
  elements: dict
  contains:
    who:
      description: Who deployed.
      type: str
      sample: alice@laptop
    run:
      description: The run of ansible-playbook.
      type: str
      sample: r3f2a1b9c0d5e
    version:
      description: What was deployed.
      type: str
      sample: v4.2.0
    release:
      description: The id of the release, where one was named.
      type: str
      sample: 3f2a1b9c0d-9f8e7d6c
    began:
      description: When it got the lock, UTC.
      type: str
      sample: "2026-03-01T12:00:00.000Z"
    ended:
      description: When it gave it back, UTC; the last sign of life of a deploy that was killed.
      type: str
      sample: "2026-03-01T12:05:00.000Z"
    seconds:
      description: How long that was.
      type: int
      sample: 300
    result:
      description: What the deploy said of itself, or V(killed) if its stale lock was taken over, or V(broken).
      type: str
      sample: success
    message:
      description: More about it.
      type: str
      sample: ""
summary:
  description: The same in sentences, one a line.
  returned: success
  type: list
  elements: str
  sample:
    - Nobody holds the deploy lock of amy.example.org.
"""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import deploy_lock
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_lock import Call, Done, Owner, Place
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def done_for(call: Call, params: dict[str, Any]) -> Done:
    """What the state asks for."""
    state = params["state"]
    if state == "observed":
        return deploy_lock.observe(call)
    if state == "unfrozen":
        return deploy_lock.unfreeze(call)
    owner = Owner(**params["owner"])
    if state == "held":
        return deploy_lock.acquire(
            call,
            owner,
            version=params["version"],
            reason=params["reason"],
            expiry=params["expiry"],
            ended=params["ended_runs"],
        )
    if state == "renewed":
        return deploy_lock.renew(call, owner)
    if state == "broken":
        return deploy_lock.break_lock(call, owner, params["broken_run"])
    if state == "frozen":
        return deploy_lock.freeze(call, owner, params["reason"])
    return deploy_lock.release(
        call, owner, result=params["result"], message=params["message"], release_id=params["release"]
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "domain": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["held", "renewed", "released", "broken", "frozen", "unfrozen", "observed"],
                "default": "observed",
            },
            "version": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": ""},
            "expiry": {"type": "int", "default": 3600},
            "wait": {"type": "int", "default": 0},
            "result": {"type": "str", "choices": list(deploy_lock.RESULTS)},
            "message": {"type": "str", "default": ""},
            "release": {"type": "str", "default": ""},
            "broken_run": {"type": "str"},
            "unlock": {"type": "str", "default": "ansible-playbook playbooks/unlock.yml -i INVENTORY"},
            "entries": {"type": "int", "default": 10},
            "owner": {
                "type": "dict",
                "options": {
                    "owner": {"type": "str", "required": True},
                    "run": {"type": "str", "required": True},
                    "controller": {"type": "str", "default": ""},
                    "pid": {"type": "int", "default": 0},
                    "started": {"type": "str", "default": ""},
                },
            },
            "ended_runs": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[
            ("state", "held", ("owner",)),
            ("state", "renewed", ("owner",)),
            ("state", "released", ("owner", "result")),
            ("state", "broken", ("owner", "broken_run")),
            ("state", "frozen", ("owner",)),
        ],
        supports_check_mode=True,
    )
    params = module.params
    place = Place(Path(params["directory"]), params["domain"], params["unlock"])
    begins = params["state"] in {"held", "frozen"}
    writes = not module.check_mode and params["state"] != "observed"
    try:
        with deploy_lock.guarded(place, time.monotonic, time.sleep, make=begins) if writes else nullcontext():
            call = Call(place, time.time(), check=module.check_mode)
            done = done_for(call, params)
            result = deploy_lock.described(call, done, params["entries"], params["ended_runs"])
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    except OSError as error:
        module.fail_json(
            msg=f"The deploy lock in {place.directory} cannot be read or changed: {error}. Run this with become: true, "
            "and look at the file system's space and rights."
        )
    for warning in done.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
