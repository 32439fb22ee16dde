# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup: an application's environment from a file on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.carpentries.webapps.plugins.module_utils import environment
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

YAML = (".yml", ".yaml")


def variables_of(name: str, text: str) -> dict[str, Any]:
    """The variables in a file's text, which is YAML or not by the file's name. Raises WebappsError without values."""
    if not name.endswith(YAML):
        return dict(environment.parsed(text))
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # Not `from error`: Ansible prints causes, and this one quotes the file.
        raise WebappsError(f"line {line} is no YAML: {error.problem}") from None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise WebappsError("it holds no dictionary of names and values")
    return dict(found)


class LookupModule(LookupBase):  # type: ignore[misc]
    """The plugin as Ansible loads it."""

    def run(self, terms: list[str], variables: Any = None, **_options: Any) -> list[dict[str, Any]]:
        return [self._read(term) if term else {} for term in terms]

    def _read(self, term: str) -> dict[str, Any]:
        path = self._loader.path_dwim(term)
        if not Path(path).is_file():
            raise AnsibleLookupError(
                f"app_release_environment_file is {term}, and there is no file {path} on the controller: write "
                'NAME=value lines into it, name another file, or set app_release_environment_file to "".'
            )
        try:
            # Decrypted in memory: get_real_file() writes it to a file.
            content, _plain = self._loader._get_file_contents(path)
            return variables_of(path, content.decode())
        except (WebappsError, UnicodeDecodeError, AnsibleError) as error:
            raise AnsibleLookupError(f"{path} (app_release_environment_file) cannot be read: {error}") from None
