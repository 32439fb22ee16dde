# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install a program of module_utils on a host; documented in plugins/modules/host_program.py."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils.host_programs import packed

MODULE_UTILS = Path(__file__).parent.parent / "module_utils"


class ActionModule(ActionBase):  # type: ignore[misc]
    """Pack the program here, then let the modules `file` and `copy` bring it to the host."""

    TRANSFERS_FILES = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _valid, options = self.validate_argument_spec(
            {
                "dest": {"type": "path", "required": True},
                "main": {"type": "str", "required": True},
                "mode": {"type": "str", "default": "0755"},
                "group": {"type": "str", "default": "root"},
            }
        )
        try:
            program = packed(MODULE_UTILS, options["main"])
        except WebappsError as error:
            raise AnsibleActionFail(error.message) from error
        directory = {"path": str(PurePosixPath(options["dest"]).parent), "state": "directory", "mode": "0755"}
        made: dict[str, Any] = self._execute_module("ansible.builtin.file", directory, task_vars=task_vars)
        # In check mode there is nothing yet to compare with.
        if made.get("failed") or (made.get("changed") and self._task.check_mode):
            return made
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / PurePosixPath(options["dest"]).name
            source.write_bytes(program)
            copied = self._copy(source, options, task_vars)
        copied["changed"] = bool(copied.get("changed") or made.get("changed"))
        return copied

    def _copy(self, source: Path, options: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        task = self._task.copy()
        task.args = {
            "src": str(source),
            "dest": options["dest"],
            "owner": "root",
            "group": options["group"],
            "mode": options["mode"],
        }
        action = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = action.run(task_vars=task_vars)
        # An archive's bytes say nothing to who reads a diff.
        result.pop("diff", None)
        return result
