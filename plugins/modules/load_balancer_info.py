#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancer_info
version_added: 1.0.0
short_description: Tell what a load balancer says of hosts
description:
  - Asks the target groups of Application and Network Load Balancers for the health of hosts, and changes nothing.
  - Unlike M(carpentries.webapps.load_balancer_member) with
    O(carpentries.webapps.load_balancer_member#module:state=observed)
    it refuses no host that could not leave or join, because it is for looking at what is.
  - Runs where the AWS credentials are, usually on the controller. It needs the rights to
    C(elasticloadbalancing:DescribeTargetGroups), C(DescribeTargetGroupAttributes) and C(DescribeTargetHealth).
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  target_groups:
    description: Names or ARNs of the target groups.
    type: list
    elements: str
    required: true
  targets:
    description: The hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host's name, for the result.
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
        description: Ports in single groups, by the group's name, where they differ.
        type: dict
        default: {}
  strangers:
    description:
      - What becomes of other members of the target groups, which serve or may soon, such as instances that Auto Scaling
        has launched meanwhile. V(tell) is a warning with their names, V(fail) a failure.
    type: str
    choices: [ignore, tell, fail]
    default: ignore
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: carpentries.webapps.load_balancer_member
"""

EXAMPLES = r"""
- name: See what the balancer says of a host
  carpentries.webapps.load_balancer_info:
    target_groups: [amy-production]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718}
    region: us-east-1
  delegate_to: localhost
  register: pool

- name: Fail if anybody else is a member
  carpentries.webapps.load_balancer_info:
    target_groups: [amy-production]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718}
    strangers: fail
    region: us-east-1
  delegate_to: localhost
"""

RETURN = r"""
targets:
  description:
    - Every registration of every target, also one on a port that was not declared. A target that a group does not have
      is there with the state C(unused).
  returned: success
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
    state:
      description: AWS's word, for example C(healthy), C(draining), C(unhealthy), C(initial) or C(unused).
      type: str
      sample: healthy
    reason:
      description: AWS's code for why it is not healthy.
      type: str
      sample: ""
    description:
      description: The same for people.
      type: str
      sample: ""
strangers:
  description: Other members of the target groups that serve, or may soon. Empty with O(strangers=ignore).
  returned: success, and with O(strangers=fail) when there are some
  type: list
  elements: dict
  sample: [{target_group: amy, id: i-0a1b2c3d4e5f60799, port: 80, state: initial, reason: "", description: ""}]
"""

import time
from contextlib import suppress
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import FOR_LOOKS, Patience, one_attempt
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.load_balancer import (
    of_strangers,
    registrations,
    strangers,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

ARGUMENTS: dict[str, Any] = {
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
        },
        "required_one_of": [["instance_id", "ip_address"]],
    },
    "strangers": {"type": "str", "choices": ["ignore", "tell", "fail"], "default": "ignore"},
}


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    patience = Patience(FOR_LOOKS, clock=time.monotonic, sleep=time.sleep)
    try:
        client = module.client("elbv2", retry_decorator=patience, config=one_attempt())
        api = TargetGroupsApi(client, module.region or "the region")
        targets = [Target.declared(target) for target in module.params["targets"]]
        told = registrations(api, module.params["target_groups"], targets)
        asked = module.params["strangers"] != "ignore"
        others = strangers(api, module.params["target_groups"], targets) if asked else []
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg="AWS does not say how the targets are")
    else:
        if others and module.params["strangers"] == "fail":
            module.fail_json(msg=of_strangers(others), targets=told, strangers=others)
        if others:
            module.warn(of_strangers(others))
        module.exit_json(changed=False, targets=told, strangers=others)


if __name__ == "__main__":
    main()
