# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: an inventory's secrets, from wherever one variable says that they are."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: secrets
author: The Carpentries webapps maintainers (@carpentries)
version_added: 1.0.0
short_description: Read an inventory's secrets from ansible-vault, SSM Parameter Store or Secrets Manager
description:
  - Returns names and values, wherever they are kept, so that an inventory chooses the place by one variable.
  - AWS is asked once in a run for each place. The answer is kept in memory until the run ends, never in a file.
  - A file of ansible-vault is decrypted in memory.
  - Errors say where was looked, what AWS answered and which right is missing, and never a value.
options:
  _terms:
    description:
      - With O(source=vault), files on the controller that C(ansible-vault) has encrypted, each a YAML dictionary.
      - With O(source=ssm), paths such as V(/amy/production). Every parameter below a path is decrypted; its name is
        what follows the path, with C(_) for C(/) and other characters that names of variables do not have.
      - With O(source=secrets_manager), names or ARNs of secrets that hold a JSON object of names and values.
    type: list
    elements: str
    required: true
  source:
    description: Where the secrets are kept.
    type: str
    choices: [vault, ssm, secrets_manager]
    required: true
  names:
    description:
      - The secrets that must be there; nothing else is returned. All that is missing is named in one error.
      - Without names everything is returned.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
notes:
  - The identity of the controller needs C(ssm:GetParametersByPath) on the path or C(secretsmanager:GetSecretValue) on
    the secret, and C(kms:Decrypt) where the key is one of your own.
seealso:
  - plugin: amazon.aws.ssm_parameter
    plugin_type: lookup
  - plugin: amazon.aws.secretsmanager_secret
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Give an application its secrets from Parameter Store
  carpentries.webapps.environment_file:
    root: /webapps/amy.example.org
    group: amy
    variables: "{{ query('carpentries.webapps.secrets', '/amy/production', source='ssm', region='eu-west-1') | first }}"
  no_log: true

# In group_vars: one variable decides, and roles take what they need.
- name: Configure Redis with a password of whatever source the inventory names
  ansible.builtin.include_role:
    name: carpentries.webapps.redis
  vars:
    webapps_secrets_source: secrets_manager
    webapps_secrets_places:
      vault: "{{ inventory_dir }}/../secrets/production.yml"
      ssm: /amy/production
      secrets_manager: amy/production
    webapps_secrets: >-
      {{ query('carpentries.webapps.secrets', webapps_secrets_places[webapps_secrets_source],
      source=webapps_secrets_source, names=['REDIS_PASSWORD'], region='eu-west-1') | first }}
    redis_password: "{{ webapps_secrets.REDIS_PASSWORD }}"
"""

RETURN = r"""
_raw:
  description: A dictionary of names and values for each place, all text.
  type: list
  elements: dict
  sample: [{AMY_SECRET_KEY: (50 random characters), REDIS_PASSWORD: (40 letters and digits)}]
"""

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.parsing.vault import is_encrypted
from ansible_collections.amazon.aws.plugins.plugin_utils.lookup import AWSLookupBase
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.plugin_utils import secret_sources as sources
from ansible_collections.carpentries.webapps.plugins.plugin_utils.run_memory import remembered


class LookupModule(AWSLookupBase):  # type: ignore[misc]
    """The plugin as Ansible loads it."""

    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=options)
        try:
            return [self._secrets(term) for term in terms]
        except WebappsError as error:
            raise AnsibleLookupError(error.message) from None

    def _secrets(self, term: str) -> dict[str, str]:
        source = self.get_option("source")
        found = self._vault(term) if source == sources.VAULT else self._from_aws(source, term)
        return sources.required(found, self.get_option("names"), f"{term} ({source})")

    def _from_aws(self, source: str, term: str) -> dict[str, str]:
        self.require_aws_sdk()
        place = [source, term, *(self.get_option(name) for name in ("region", "endpoint_url", "profile", "access_key"))]
        return remembered(json.dumps(place), lambda: self._asked(source, term))

    def _asked(self, source: str, term: str) -> dict[str, str]:
        region = self.region or "the region of the AWS profile"
        # botocore repeats what AWS throttles.
        if source == sources.SSM:
            return sources.from_parameters(self.client("ssm"), term, region)
        return sources.from_secret(self.client("secretsmanager"), term, region)

    def _vault(self, term: str) -> dict[str, str]:
        path = self._loader.path_dwim(term)
        if not Path(path).is_file():
            raise WebappsError(
                f"There is no file {path} on the controller: write NAME: value lines into it and encrypt it "
                "(ansible-vault create), or choose another source of secrets."
            )
        if not is_encrypted(Path(path).read_bytes()):
            raise WebappsError(f"The file {path} is not encrypted: run ansible-vault encrypt {path}.")
        try:
            # Decrypted in memory: get_real_file() writes it to a file.
            content, _plain = self._loader._get_file_contents(path)
        except AnsibleError as error:
            raise WebappsError(
                f"The file {path} cannot be decrypted: {str(error).rstrip('.')}. Give its password by "
                "--vault-password-file, ANSIBLE_VAULT_PASSWORD_FILE or --ask-vault-pass."
            ) from None
        return sources.from_vault(content, path)
