# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja filter: the files of tasks that a hook of a deploy runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils.deploy_hooks import files


def hook_files(hooks: Mapping[str, Sequence[str]], name: str, sources: Sequence[str]) -> list[str]:
    """The absolute paths of a hook's files. Raises AnsibleFilterError for one that is not there."""
    try:
        return files(hooks, name, sources)
    except WebappsError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The plugin as Ansible loads it."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"hook_files": hook_files}
