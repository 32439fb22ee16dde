#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancer_member
version_added: 1.0.0
short_description: Take hosts out of a load balancer's target groups and put them back
description:
  - Registers and deregisters a whole batch of hosts in several target groups of Application and Network Load Balancers,
    and waits until the balancer itself says that they are where they should be.
  - Target groups and targets are declared, never remembered. What to do follows from what the balancer says at the
    moment, so a call that was killed is repaired by calling again.
  - The state is reached or the module fails, whatever C(changed) is. A target that drains counts as out.
  - Runs where the AWS credentials are, usually on the controller.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  state:
    description:
      - V(out_of_service) deregisters exactly what is registered of the targets and waits as O(wait_for) says.
      - V(in_service) registers what is not registered or drains, and waits until every target is healthy in every
        group, also when it was registered before and initial or unhealthy.
      - V(observed) changes nothing. It fails when a group does not exist or no listener uses it, when a target can
        not be a member of a group, or may not become one, and returns the targets' health.
    type: str
    choices: [in_service, out_of_service, observed]
    required: true
  target_groups:
    description:
      - Names or ARNs of the target groups. Their type decides whether a target is known by its instance id or its
        IP address.
    type: list
    elements: str
    required: true
  targets:
    description:
      - The hosts, all of a batch at once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host's name, for messages.
        type: str
      instance_id:
        description: The id of the EC2 instance, for target groups of the type instance.
        type: str
      ip_address:
        description: The private address, for target groups of the type ip.
        type: str
      port:
        description: The port in every group. Without it each group's own port.
        type: int
      ports:
        description:
          - Ports in single groups, by the group's name, where they differ.
          - A port that is registered but not declared is refused. Once the host had left, nobody could bring it back.
        type: dict
        default: {}
      may_join:
        description: With O(state=observed), whether the host may be in none of the groups so far.
        type: bool
        default: true
  wait_for:
    description:
      - What O(state=out_of_service) waits for. At V(draining) the balancer has been told, but requests may arrive for
        another minute, and the host must go on serving; at V(unused) the groups' whole deregistration delay is over.
    type: str
    choices: [draining, unused]
    default: draining
  minimum_healthy:
    description:
      - How many hosts of each group must stay healthy, as a number or as a percentage of the group's hosts rounded up,
        for O(state=out_of_service). Otherwise nothing is deregistered and the module fails.
      - A host that is not healthy may always leave.
    type: str
    default: "1"
  timeout:
    description:
      - Seconds to wait, at most. By default derived from the groups - the deregistration delay for leaving, the
        interval, timeout and threshold of the health check for joining, and a minute.
    type: int
  auto_scaling:
    description:
      - Whether to refuse to take out instances that Auto Scaling manages, which would be replaced with old code.
        V(ignore) does not ask Auto Scaling.
    type: str
    choices: [refuse, ignore]
    default: refuse
attributes:
  check_mode:
    description: Makes no call that changes anything, and returns what would be done.
    support: full
  diff_mode:
    description: Shows the state of every target before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Take two hosts out of the pool
  carpentries.webapps.load_balancer_member:
    state: out_of_service
    target_groups: [amy-production]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718}
      - {name: web-2, instance_id: i-0a1b2c3d4e5f60719}
    minimum_healthy: 50%
    region: us-east-1
  delegate_to: localhost

- name: Put them back and wait until the balancer finds them healthy
  carpentries.webapps.load_balancer_member:
    state: in_service
    target_groups: [amy-production]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718}
      - {name: web-2, instance_id: i-0a1b2c3d4e5f60719}
    region: us-east-1
  delegate_to: localhost

- name: See whether a host that listens on its own port in one group could leave and come back
  carpentries.webapps.load_balancer_member:
    state: observed
    target_groups: [amy-production, amy-admin]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718, ports: {amy-admin: 8080}}
    region: us-east-1
  delegate_to: localhost
"""

RETURN = r"""
targets:
  description: Every member, that is every target in every group. In check mode C(after) is what would be reached.
  returned: always, also on failure when the groups could be read
  type: list
  elements: dict
  contains:
    host:
      description: The name and id of the target.
      type: str
      sample: web-1 (i-0a1b2c3d4e5f60718)
    target_group:
      description: The name of the target group.
      type: str
      sample: amy-production
    id:
      description: The instance id or the IP address, as the group knows the target.
      type: str
      sample: i-0a1b2c3d4e5f60718
    port:
      description: The target's port in the group.
      type: int
      sample: 80
    before:
      description: What the balancer said at first. State, reason and description as in AWS's API.
      type: dict
      sample: {state: healthy, reason: "", description: ""}
    after:
      description: What the balancer said in the end.
      type: dict
      sample:
        state: draining
        reason: Target.DeregistrationInProgress
        description: Target deregistration is in progress
    action:
      description: What was done, one of C(register), C(deregister), C(wait) (nothing but waiting), C(none).
      type: str
      sample: deregister
waited:
  description: Seconds of waiting for the balancer.
  returned: always, also on failure when the groups could be read
  type: float
  sample: 12.3
deregistration_delay:
  description: Seconds that a target which has left gets for requests under way; the longest of the groups.
  returned: success
  type: int
  sample: 30
"""

import time
from contextlib import suppress
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.load_balancer import LoadBalancer, describe, diff
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

# Beside what AWSRetry repeats by itself. A target group that does not exist is not among them: it never will.
RETRIED = ["ThrottlingException", "HealthUnavailable"]

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["in_service", "out_of_service", "observed"], "required": True},
    "target_groups": {"type": "list", "elements": "str", "required": True},
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str"},
            "instance_id": {"type": "str"},
            "ip_address": {"type": "str"},
            "port": {"type": "int"},
            "ports": {"type": "dict", "default": {}},
            "may_join": {"type": "bool", "default": True},
        },
        "required_one_of": [["instance_id", "ip_address"]],
    },
    "wait_for": {"type": "str", "choices": ["draining", "unused"], "default": "draining"},
    "minimum_healthy": {"type": "str", "default": "1"},
    "timeout": {"type": "int"},
    "auto_scaling": {"type": "str", "choices": ["refuse", "ignore"], "default": "refuse"},
}


def run(module: AnsibleAWSModule) -> dict[str, Any]:
    """Do what the parameters say; returns the module's result."""
    wanted = module.params
    retry = AWSRetry.jittered_backoff(retries=8, delay=1, max_delay=20, catch_extra_error_codes=RETRIED)
    api = TargetGroupsApi(
        module.client("elbv2", retry_decorator=retry),
        module.client("autoscaling", retry_decorator=retry),
        module.region or "the region",
    )
    balancer = LoadBalancer(
        api,
        wanted["target_groups"],
        [Target.declared(target) for target in wanted["targets"]],
        clock=time.monotonic,
        sleep=time.sleep,
        timeout=wanted["timeout"],
        check_mode=module.check_mode,
        auto_scaling=wanted["auto_scaling"],
    )
    if wanted["state"] == "observed":
        outcome = balancer.observe(wanted["minimum_healthy"])
    elif wanted["state"] == "out_of_service":
        outcome = balancer.leave(wanted["minimum_healthy"], wanted["wait_for"])
    else:
        outcome = balancer.join()
    for warning in outcome.warnings:
        module.warn(warning)
    return {
        "changed": outcome.changed,
        "targets": describe(outcome),
        "waited": round(outcome.waited, 1),
        "deregistration_delay": max((group.deregistration_delay for group in balancer.groups), default=0),
        "diff": diff(outcome),
    }


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = run(module)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"AWS refused what state={module.params['state']} needs")
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
