#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cloudwatch_agent
short_description: Have Amazon's CloudWatch agent run with one configuration
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Compares the configuration with the one that the agent has accepted, and gives it to the agent only if that is
    another, so a second run changes and restarts nothing, as the agent's own command C(fetch-config) would.
  - Configurations that the agent has from elsewhere are replaced.
  - Starts an agent that does not run, and fails if it does not keep running.
options:
  configuration:
    description: The agent's configuration.
    type: dict
    required: true
  path:
    description: The file that it is given to the agent from; not below C(/opt/aws), where the agent deletes it.
    type: path
    required: true
  mode:
    description: Where the agent gets region and credentials from.
    type: str
    choices: [ec2, onPremise, auto]
    default: ec2
  timeout:
    description: Seconds that the agent has to run.
    type: int
    default: 30
attributes:
  check_mode:
    description: Tells whether the configuration differs or the agent does not run.
    support: full
  diff_mode:
    description: Shows the configuration before and after.
    support: full
"""

EXAMPLES = r"""
- name: Configure the agent
  carpentries.webapps.cloudwatch_agent:
    path: /etc/webapps/cloudwatch-agent.json
    configuration:
      metrics:
        metrics_collected:
          mem:
            measurement: [used_percent]
"""

RETURN = r"""
accepted:
  description: Whether the agent had accepted this configuration before.
  returned: success
  type: bool
  sample: true
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.cloudwatch_agent_control import Agent, ensure
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "mode": {"type": "str", "choices": ["ec2", "onPremise", "auto"], "default": "ec2"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    values = module.params
    agent = Agent(runner(module), Path(values["path"]), values["mode"])
    try:
        result = ensure(agent, values["configuration"], values["timeout"], module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
