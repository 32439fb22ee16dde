# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an inventory's secrets come from. What is read has one form: names and values, both text.

No message has a value in it; each says where was looked, what the answer was, and what helps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import yaml
from ansible_collections.carpentries.webapps.plugins.module_utils.environment import as_text
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# The lookup says so, with the remedy, when botocore is missing.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

VAULT, SSM, SECRETS_MANAGER = "vault", "ssm", "secrets_manager"
DENIED = ("AccessDenied", "AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException")


def from_parameters(client: Any, path: str, region: str) -> dict[str, str]:
    """Every parameter below a path of Parameter Store, decrypted, by its name below that path.

    ``/amy/production/redis/password`` below ``/amy/production`` is ``redis_password``. Raises WebappsError.
    """
    where = f"The parameters below {path} (SSM Parameter Store, {region})"
    if not path.startswith("/") or path.rstrip("/") == "":
        raise WebappsError(f"{path} is no path of parameters: give one that begins with /, such as /amy/production.")
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    try:
        pages = client.get_paginator("get_parameters_by_path")
        for page in pages.paginate(Path=path, Recursive=True, WithDecryption=True):
            for parameter in page["Parameters"]:
                name = parameter_key(parameter["Name"], path)
                if name in taken:
                    raise WebappsError(
                        f"{where} hold {name} twice, as {taken[name]} and {parameter['Name']}: rename one of them."
                    )
                found[name], taken[name] = parameter["Value"], parameter["Name"]
    except (BotoCoreError, ClientError) as error:
        raise _refused(where, error, "ssm:GetParametersByPath on the path, and kms:Decrypt on its key") from None
    if not found:
        raise WebappsError(
            f"{where} are none: there is no such path. Create {path.rstrip('/')}/NAME as a SecureString, or correct "
            "the path or the region."
        )
    return found


def parameter_key(name: str, path: str) -> str:
    """The name below the path, in the characters of a variable."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name.removeprefix(path.rstrip("/") + "/"))


def from_secret(client: Any, secret_id: str, region: str) -> dict[str, str]:
    """The names and values of a JSON object that Secrets Manager holds under this name or ARN. Raises WebappsError."""
    where = f"The secret {secret_id} (Secrets Manager, {region})"
    try:
        answer = client.get_secret_value(SecretId=secret_id)
    except (BotoCoreError, ClientError) as error:
        raise _refused(where, error, "secretsmanager:GetSecretValue on it, and kms:Decrypt on its key") from None
    if "SecretString" not in answer:
        raise WebappsError(f"{where} is binary: store a JSON object of names and values as text.")
    try:
        content = json.loads(answer["SecretString"])
    except ValueError:
        # Not `from error`: Ansible prints causes, and this one has the document in it.
        raise WebappsError(f'{where} is no JSON: store an object of names and values, {{"NAME": "value"}}.') from None
    return _texts(where, content)


def from_vault(text: bytes, path: str) -> dict[str, str]:
    """The names and values of a YAML dictionary that ansible-vault has encrypted. Raises WebappsError."""
    where = f"The file {path}"
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        # Not `from error`, as above.
        raise WebappsError(f"{where} is no YAML in line {line}: {error.problem}. Write NAME: value.") from None
    return _texts(where, content)


def required(found: Mapping[str, str], names: Iterable[str], where: str) -> dict[str, str]:
    """Those of the secrets that are asked for. Raises WebappsError, naming all that are missing."""
    wanted = list(names)
    if missing := sorted(set(wanted) - set(found)):
        raise WebappsError(f"{where} lacks {', '.join(missing)}: add what is missing, or correct the names.")
    return {name: found[name] for name in wanted} if wanted else dict(found)


def _texts(where: str, content: object) -> dict[str, str]:
    if not isinstance(content, Mapping) or not content:
        raise WebappsError(f"{where} holds no names and values: write a dictionary of them.")
    nested = sorted(str(name) for name, value in content.items() if not isinstance(value, (str, bool, int, float)))
    if nested:
        raise WebappsError(f"{where} has no text as the value of {', '.join(nested)}: give each name one value.")
    return {str(name): as_text(value) for name, value in content.items()}


def _refused(where: str, error: Exception, rights: str) -> WebappsError:
    """What AWS said, and what helps against it."""
    code = str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
    said = str(error.response["Error"].get("Message", "")) if isinstance(error, ClientError) else str(error)
    if code in DENIED:
        remedy = f"Allow the controller's AWS identity {rights}."
    elif code == "ResourceNotFoundException":
        remedy = "Create it, or correct its name or the region."
    elif code == "InvalidRequestException":
        remedy = "A secret that is marked for deletion can be restored: aws secretsmanager restore-secret."
    elif isinstance(error, NoCredentialsError):
        remedy = "Give the controller AWS credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID or an instance profile."
    elif isinstance(error, EndpointConnectionError):
        remedy = "Correct the region or AWS_ENDPOINT_URL, or let the controller reach it."
    else:
        remedy = f"Check the region, and that the controller's AWS identity has {rights}."
    return WebappsError(f"{where} cannot be read: {code}: {said.rstrip('.')}. {remedy}")
