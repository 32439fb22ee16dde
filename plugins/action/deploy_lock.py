# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say whose deploy lock it is, and wait for it; documented in plugins/modules/deploy_lock.py."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_run import asked, this_run


class ActionModule(ActionBase):  # type: ignore[misc]
    """Let the module on the host do it, for the run of ansible-playbook that this is."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        here = this_run(os.environ)
        arguments = dict(self._task.args)
        try:
            wait = float(arguments.get("wait", 0))
        except (TypeError, ValueError) as error:
            raise AnsibleActionFail(f'wait is "{arguments["wait"]}": give a number of seconds.') from error

        def ask(ended: Sequence[str]) -> dict[str, Any]:
            given = {**arguments, "owner": asdict(here), "ended_runs": list(ended)}
            answer: dict[str, Any] = self._execute_module("carpentries.webapps.deploy_lock", given, task_vars=task_vars)
            return answer

        return asked(ask, here, wait, clock=time.monotonic, sleep=time.sleep, say=self._display.display)
