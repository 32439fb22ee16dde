# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How git gets at a repository: what it may use, and a private repository's key or token, which nobody else sees."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"
# Git must neither ask a question nor run a program that a repository's address names.
GIT_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/true",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_SSH_COMMAND": SSH,
    "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
    "GIT_HTTP_LOW_SPEED_TIME": "30",
}
ADVICE = {
    "Host key verification failed": "The server's SSH host key is not known, or is another one: give the lines of "
    "known_hosts for it in app_release_repository_known_hosts, as the server's owner publishes them.",
    "Permission denied (": "The server does not take the key: check app_release_repository_key, and that its public "
    "half is a deploy key of the repository.",
    "error in libcrypto": "app_release_repository_key is no private key that ssh can read, or has a passphrase: give "
    "one in OpenSSH's format without.",
    "Authentication failed": "The server does not take the token: check app_release_repository_token and "
    "app_release_repository_token_user.",
    "terminal prompts disabled": "The server wants a token: give app_release_repository_token.",
}
OTHERWISE = "Check app_release_repository and that the builder may reach it."


# Arguments of modules; doc_fragments/git_access.py documents them.
GIT_ARGUMENTS: dict[str, dict[str, object]] = {
    "key": {"type": "str", "default": "", "no_log": True},
    "known_hosts": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "default": "", "no_log": True},
    "token_user": {"type": "str", "default": "x-access-token"},
}


@dataclass(frozen=True)
class Credentials:
    """What opens a private repository: a private key for SSH, or a token for HTTPS.

    ``known_hosts``: lines as in ssh's file, which then are the only host keys that are trusted.
    """

    key: str = ""
    known_hosts: Sequence[str] = ()
    token: str = ""
    token_user: str = ""


def advice(words: str) -> str:
    """What to do about an answer of git."""
    return next((remedy for sign, remedy in ADVICE.items() if sign in words), OTHERWISE)


@contextmanager
def git_access(repository: str, credentials: Credentials) -> Iterator[dict[str, str]]:
    """The environment in which git reaches a repository. Raises WebappsError for credentials that cannot fit it."""
    over_https = urlsplit(repository).scheme == "https"
    if credentials.token and not over_https:
        raise WebappsError(
            "app_release_repository_token is for addresses that begin with https://, where nobody can read it on the "
            f"way; app_release_repository is {repository}."
        )
    if credentials.key and over_https:
        raise WebappsError(
            f"app_release_repository_key is for SSH, and app_release_repository is {repository}: give the address for "
            "SSH, such as git@github.com:carpentries/amy.git, or app_release_repository_token."
        )
    with ExitStack() as stack:
        ssh = [SSH]
        if credentials.key:
            key = stack.enter_context(_nameless(_checked_key(credentials.key)))
            ssh += [f"-o IdentitiesOnly=yes -o IdentityAgent=none -i {key}"]
        if credentials.known_hosts:
            known = stack.enter_context(_nameless("".join(f"{line}\n" for line in credentials.known_hosts)))
            ssh += [f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null"]
        yield {**GIT_ENVIRONMENT, "GIT_SSH_COMMAND": " ".join(ssh), **_header(repository, credentials)}


def _checked_key(text: str) -> str:
    # Without a newline at the end, which YAML easily loses, ssh cannot read it.
    key = text.replace("\r\n", "\n").strip() + "\n"
    if not key.startswith("-----BEGIN ") or "PRIVATE KEY-----\n" not in key:
        raise WebappsError(
            "app_release_repository_key is no private key: give the whole text of the file, from -----BEGIN to "
            "PRIVATE KEY-----, not its path and not the public half."
        )
    return key


def _header(repository: str, credentials: Credentials) -> dict[str, str]:
    """The token in git's environment, for the repository's server alone; no argument and no file has it."""
    if not credentials.token:
        return {}
    parts = urlsplit(repository)
    pair = base64.b64encode(f"{credentials.token_user}:{credentials.token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
    }


@contextmanager
def _nameless(text: str) -> Iterator[str]:
    """A file of this user alone, in memory and in no directory: it goes with this process, however that ends."""
    handle = os.memfd_create("webapps")
    os.fchmod(handle, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        yield f"/proc/{os.getpid()}/fd/{handle}"
