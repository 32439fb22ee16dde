#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancer_soak
version_added: 1.0.0
short_description: Watch the first hosts of a new release for a while
description:
  - Waits, and fails as soon as a host is no longer healthy, an alarm of CloudWatch rings, or what an Application Load
    Balancer counts for the target groups is out of bounds; the error has the numbers seen.
  - The balancer counts for a whole target group. With one new host of four a release that fails always shows as 25 %.
  - Changes nothing. It needs the rights to C(cloudwatch:DescribeAlarms) for O(alarms) and
    C(cloudwatch:GetMetricData) for O(error_percent) and O(latency), beside those of
    M(carpentries.webapps.load_balancer_info).
  - Runs where the AWS credentials are, usually on the controller.
author:
  - The Carpentries webapps maintainers (@carpentries)
options:
  state:
    description:
      - V(watched) watches for O(seconds).
      - V(checked) waits for nothing. It refuses what could not be watched - alarms that do not exist or ring already, a
        time too short for figures, a balancer that has none.
    type: str
    choices: [watched, checked]
    default: watched
  target_groups:
    description: Names or ARNs of the target groups.
    type: list
    elements: str
    required: true
  targets:
    description: The hosts that have to stay healthy, if any.
    type: list
    elements: dict
    default: []
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
        description: Ports in single groups, by the group's name, where they differ.
        type: dict
        default: {}
  seconds:
    description:
      - How long to watch. With O(error_percent) or O(latency) 180 or more, as CloudWatch has figures some minutes late.
    type: int
    required: true
  interval:
    description: Seconds between two looks.
    type: int
    default: 15
  alarms:
    description: Names of CloudWatch's alarms, metric or composite, none of which may be in C(ALARM).
    type: list
    elements: str
    default: []
  insufficient_data:
    description: Whether an alarm that is C(INSUFFICIENT_DATA) in the end is a warning (V(tell)) or a failure (V(fail)).
    type: str
    choices: [tell, fail]
    default: tell
  error_percent:
    description: The share of requests that may be answered with 5xx by the targets, in percent. Not judged without it.
    type: float
  latency:
    description:
      - The seconds that O(statistic) of the targets' response times may take in each minute. Not judged without it.
    type: float
  statistic:
    description: The statistic of O(latency), V(Average) or a percentile such as V(p99).
    type: str
    default: p99
  minimum_requests:
    description: Figures of a group with fewer requests are not judged, which is a warning.
    type: int
    default: 20
attributes:
  check_mode:
    description: Waits for nothing, as with O(state=checked).
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
- name: Watch the first host for five minutes
  carpentries.webapps.load_balancer_soak:
    target_groups: [amy-production]
    targets:
      - {name: web-1, instance_id: i-0a1b2c3d4e5f60718}
    seconds: 300
    alarms: [amy-production-5xx, amy-production-slow]
    region: us-east-1
  delegate_to: localhost

- name: Judge by what the balancer counts
  carpentries.webapps.load_balancer_soak:
    target_groups: [amy-production]
    seconds: 600
    error_percent: 0.5
    latency: 2
    statistic: p95
    region: us-east-1
  delegate_to: localhost
"""

RETURN = r"""
waited:
  description: Seconds of watching.
  returned: success, and when something was out of bounds
  type: float
  sample: 300.0
alarms:
  description: What CloudWatch said of each alarm in the end.
  returned: success, and when something was out of bounds
  type: list
  elements: dict
  contains:
    name:
      description: The alarm's name.
      type: str
      sample: amy-production-5xx
    state:
      description: One of C(OK), C(ALARM), C(INSUFFICIENT_DATA).
      type: str
      sample: OK
    reason:
      description: Why, in CloudWatch's words.
      type: str
      sample: "Threshold Crossed: no datapoints were received for 3 periods"
figures:
  description:
    - What the balancer counted meanwhile for each target group, as far as CloudWatch has it. Empty without bounds.
  returned: success, and when something was out of bounds
  type: list
  elements: dict
  contains:
    target_group:
      description: The name of the target group.
      type: str
      sample: amy-production
    requests:
      description: How many requests there were.
      type: int
      sample: 4711
    errors:
      description: How many of them the targets answered with 5xx.
      type: int
      sample: 2
    error_percent:
      description: The same in percent.
      type: float
      sample: 0.042
    latency:
      description: The statistic of the slowest minute, in seconds; none without a request.
      type: float
      sample: 0.312
"""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import (
    FOR_HOSTS,
    FOR_PLANS,
    Patience,
    one_attempt,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.soak import Bounds, CloudWatchApi, Soak, Soaked
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups import Target, declared_members
from ansible_collections.carpentries.webapps.plugins.module_utils.target_groups_api import TargetGroupsApi

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["watched", "checked"], "default": "watched"},
    "target_groups": {"type": "list", "elements": "str", "required": True},
    "targets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str"},
            "instance_id": {"type": "str"},
            "ip_address": {"type": "str"},
            "port": {"type": "int"},
            "ports": {"type": "dict", "default": {}},
        },
        "required_one_of": [["instance_id", "ip_address"]],
    },
    "seconds": {"type": "int", "required": True},
    "interval": {"type": "int", "default": 15},
    "alarms": {"type": "list", "elements": "str", "default": []},
    "insufficient_data": {"type": "str", "choices": ["tell", "fail"], "default": "tell"},
    "error_percent": {"type": "float"},
    "latency": {"type": "float"},
    "statistic": {"type": "str", "default": "p99"},
    "minimum_requests": {"type": "int", "default": 20},
}


def run(module: AnsibleAWSModule) -> Soaked:
    """Do what the parameters say."""
    wanted = module.params
    checked = wanted["state"] == "checked" or module.check_mode
    patience = Patience(FOR_PLANS if checked else FOR_HOSTS, clock=time.monotonic, sleep=time.sleep)

    def client(service: str) -> Any:
        return module.client(service, retry_decorator=patience, config=one_attempt())

    region = module.region or "the region"
    balancer = TargetGroupsApi(client("elbv2"), region)
    groups = balancer.groups(wanted["target_groups"])
    soak = Soak(
        CloudWatchApi(client("cloudwatch"), region),
        groups,
        declared_members(groups, [Target.declared(target) for target in wanted["targets"]]),
        lambda: balancer.health(groups),
        list(dict.fromkeys(wanted["alarms"])),
        Bounds(wanted["error_percent"], wanted["latency"], wanted["statistic"], wanted["minimum_requests"]),
        wanted["insufficient_data"] == "fail",
        time.monotonic,
        time.sleep,
    )
    now = datetime.now(UTC)
    if checked:
        return soak.check(wanted["seconds"], now)
    return soak.watch(wanted["seconds"], max(wanted["interval"], 1), now)


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        soaked = run(module)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg="AWS does not say how the release does")
    else:
        for warning in soaked.warnings:
            module.warn(warning)
        module.exit_json(changed=False, **soaked.told())


if __name__ == "__main__":
    main()
