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
  - Throttling, answers 5xx and lost connections are asked for again, until 300 seconds are lost to them, or 60 with
    O(state=observed) and in check mode. A right that is denied fails at once, with the statement that gives it.
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
        not be a member of a group, or may not become one, and returns the targets' health. It also fails when IAM,
        asked with C(iam:SimulatePrincipalPolicy), says that a right is missing which leaving or joining needs.
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
        for O(state=out_of_service). Otherwise nothing is deregistered, and O(too_few_left) decides.
      - A host that is not healthy may always leave.
    type: str
    default: "1"
  too_few_left:
    description:
      - What O(state=out_of_service) does where too few would stay healthy for O(minimum_healthy), and where AWS does
        not let targets leave, or does not answer.
      - V(refuse) fails. V(stay) leaves in service who is and warns, for a way back that must not stop half-way.
    type: str
    choices: [refuse, stay]
    default: refuse
  expected_healthy:
    description:
      - Hosts that will be back, and healthy, by the time that the O(targets) leave, in the form of O(targets).
      - For a look ahead at the later batches of a roll, so it counts in check mode only.
    type: list
    elements: dict
    default: []
  batches:
    description:
      - With O(state=observed), how the fleet would leave, written as C(serial) of a play, for example V([1, 50%]).
      - A batch that is too large for O(minimum_healthy), or for the MinSize of an Auto Scaling group, even if all hosts
        were healthy, is refused.
      - Empty if nobody leaves.
    type: list
    elements: str
    default: []
  hosts:
    description: How many hosts the fleet has that leave in O(batches).
    type: int
    default: 0
  timeout:
    description:
      - Seconds to wait, at most. By default derived from the groups - the deregistration delay for leaving, the
        interval, timeout and threshold of the health check for joining, and a minute.
    type: int
  auto_scaling:
    description:
      - What becomes of instances that Auto Scaling manages, and would replace with old code when they are out.
      - V(refuse) takes none out.
      - V(standby) sends them to standby before they leave, with the group's desired capacity one lower for each, and
        back into service before they join, whoever sent them to standby.
        It is refused when the group's MinSize does not allow it, or when its process Launch is suspended, without which
        none comes back.
      - V(ignore) does not ask Auto Scaling.
    type: str
    choices: [refuse, standby, ignore]
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
auto_scaling:
  description: Every target that Auto Scaling manages, with O(auto_scaling=standby).
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The name and id of the target.
      type: str
      sample: web-1 (i-0a1b2c3d4e5f60718)
    group:
      description: The name of the Auto Scaling group.
      type: str
      sample: amy-web
    before:
      description: The instance's lifecycle state at first, as in AWS's API.
      type: str
      sample: InService
    after:
      description: The state that it reached, or is about to reach.
      type: str
      sample: Standby
    action:
      description: What was done, one of C(enter_standby), C(exit_standby), C(wait), C(none).
      type: str
      sample: enter_standby
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
target_groups:
  description: The attributes of the groups that decide how long leaving and joining take, in seconds.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The group's name.
      type: str
      sample: amy-production
    deregistration_delay:
      description: What a target that has left gets for requests under way.
      type: int
      sample: 30
    interval:
      description: What lies between two health checks.
      type: int
      sample: 10
    health_timeout:
      description: What a health check may take.
      type: int
      sample: 5
    healthy_threshold:
      description: How many health checks in a row a target must pass.
      type: int
      sample: 2
    slow_start:
      description: What passes until a healthy target gets its whole share of requests.
      type: int
      sample: 0
"""

import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.carpentries.webapps.plugins.module_utils.auto_scaling import (
    AutoScaling,
    AutoScalingApi,
    told,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import (
    FOR_HOSTS,
    FOR_PLANS,
    Patience,
    one_attempt,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_rights import Rights
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.load_balancer import LoadBalancer, describe, diff
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target, TargetGroup
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

TIMES = ("deregistration_delay", "interval", "health_timeout", "healthy_threshold", "slow_start")

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
    "too_few_left": {"type": "str", "choices": ["refuse", "stay"], "default": "refuse"},
    "expected_healthy": {"type": "list", "elements": "dict", "default": []},
    "timeout": {"type": "int"},
    "auto_scaling": {"type": "str", "choices": ["refuse", "standby", "ignore"], "default": "refuse"},
    "batches": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "int", "default": 0},
}

# The result of a way back on which AWS does not even say who is in service.
UNSEEN: dict[str, Any] = {
    "changed": False,
    "targets": [],
    "auto_scaling": [],
    "waited": 0.0,
    "deregistration_delay": 0,
    "target_groups": [],
    "diff": {"before": {}, "after": {}},
}


def run(module: AnsibleAWSModule) -> dict[str, Any]:
    """Do what the parameters say; returns the module's result."""
    wanted = module.params
    observed = wanted["state"] == "observed" or module.check_mode
    patience = Patience(FOR_PLANS if observed else FOR_HOSTS, clock=time.monotonic, sleep=time.sleep)

    def client(service: str) -> Any:
        return module.client(service, retry_decorator=patience, config=one_attempt())

    region = module.region or "the region"
    api = TargetGroupsApi(client("elbv2"), region)
    scaling_api = AutoScalingApi(client("autoscaling"), region)
    targets = [Target.declared(target) for target in wanted["targets"]]
    how: dict[str, Any] = {
        "clock": time.monotonic,
        "sleep": time.sleep,
        "timeout": wanted["timeout"],
        "check_mode": module.check_mode,
    }
    scaling = AutoScaling(scaling_api, targets, wanted["auto_scaling"], **how)
    expected = [Target.declared(target) for target in wanted["expected_healthy"]] if module.check_mode else []
    balancer = LoadBalancer(api, wanted["target_groups"], targets, scaling, expected_healthy=expected, **how)
    if wanted["state"] == "observed":
        # Nothing depends on its answer, so it gets little time.
        rights = Rights(lambda service: module.client(service, config=one_attempt(connect=3, read=10)))
        outcome = balancer.observe(wanted["minimum_healthy"], wanted["batches"], wanted["hosts"], rights)
    elif wanted["state"] == "out_of_service":
        outcome = balancer.leave(wanted["minimum_healthy"], wanted["wait_for"], wanted["too_few_left"])
    else:
        outcome = balancer.join()
    for warning in outcome.warnings:
        module.warn(warning)
    return {
        "changed": outcome.changed,
        "targets": describe(outcome),
        "auto_scaling": told(outcome.scaling),
        "waited": round(outcome.waited, 1),
        "deregistration_delay": max((group.deregistration_delay for group in balancer.groups), default=0),
        "target_groups": [timing(group) for group in balancer.groups],
        "diff": diff(outcome),
    }


def timing(group: TargetGroup) -> dict[str, Any]:
    """What of a target group decides how long things take."""
    described = asdict(group)
    return {key: described[key] for key in ("name", *TIMES)}


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    stays = module.params["state"] == "out_of_service" and module.params["too_few_left"] == "stay"
    try:
        result = run(module)
    except (WebappsError, BotoCoreError, ClientError) as error:
        if stays:
            module.warn(f"Nobody left: {error}")
            module.exit_json(**UNSEEN)
        fail(module, error)
    else:
        module.exit_json(**result)


def fail(module: AnsibleAWSModule, error: Exception) -> None:
    if isinstance(error, WebappsError):
        module.fail_json(msg=error.message, **error.details)
    module.fail_json_aws(error, msg=f"AWS refused what state={module.params['state']} needs")


if __name__ == "__main__":
    main()
