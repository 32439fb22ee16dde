"""A private repository's key or token reaches its server, and nobody else."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import (
    GIT_ENVIRONMENT,
    OTHERWISE,
    Credentials,
    advice,
    git_access,
)

BEGIN, END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
KEY = f"{BEGIN}\nc2VjcmV0\n{END}\n"
OVER_SSH, OVER_HTTPS = "git@example.org:amy.git", "https://example.org/amy.git"


def files(environment: dict[str, str]) -> list[Path]:
    return [Path(name) for name in re.findall(r"/proc/\d+/fd/\d+", environment["GIT_SSH_COMMAND"])]


def test_a_public_repository_gets_nothing() -> None:
    with git_access(OVER_HTTPS, Credentials()) as environment:
        assert environment == GIT_ENVIRONMENT


def test_a_key_is_in_a_file_of_this_user_that_is_in_no_directory_and_goes() -> None:
    with git_access(OVER_SSH, Credentials(key=KEY)) as environment:
        (key,) = files(environment)
        assert key.read_text() == KEY
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.stat().st_nlink == 0
        assert "c2VjcmV0" not in str(environment)
    assert not key.exists()


@pytest.mark.parametrize("given", [KEY.strip(), KEY.replace("\n", "\r\n"), f"\n{KEY}\n"])
def test_a_key_that_lost_its_last_newline_or_came_from_windows_still_is_one(given: str) -> None:
    with git_access(OVER_SSH, Credentials(key=given)) as environment:
        assert files(environment)[0].read_text() == KEY


@pytest.mark.parametrize("given", ["ssh-ed25519 AAAA secret", "/home/me/.ssh/secret", f"{BEGIN} secret"])
def test_what_is_no_private_key_is_refused_without_being_shown(given: str) -> None:
    with (
        pytest.raises(WebappsError, match="is no private key") as failure,
        git_access(OVER_SSH, Credentials(key=given)),
    ):
        pass
    assert "secret" not in failure.value.message


def test_known_hosts_are_the_only_ones_that_are_trusted() -> None:
    with git_access(OVER_SSH, Credentials(known_hosts=["example.org ssh-ed25519 AAAA"])) as environment:
        assert files(environment)[0].read_text() == "example.org ssh-ed25519 AAAA\n"
        for option in ("StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null"):
            assert option in environment["GIT_SSH_COMMAND"]


def test_a_token_goes_to_the_repositorys_server_alone() -> None:
    with git_access(OVER_HTTPS, Credentials(token="s3cret", token_user="me")) as environment:
        assert environment["GIT_CONFIG_KEY_0"] == "http.https://example.org/.extraHeader"
        encoded = environment["GIT_CONFIG_VALUE_0"].removeprefix("Authorization: Basic ")
        assert base64.b64decode(encoded) == b"me:s3cret"


@pytest.mark.parametrize("repository", [OVER_SSH, "http://example.org/amy.git", "git://example.org/amy.git"])
def test_a_token_for_an_address_that_others_could_listen_to_is_refused(repository: str) -> None:
    with (
        pytest.raises(WebappsError, match=r"app_release_repository_token is for addresses that begin with https://"),
        git_access(repository, Credentials(token="s3cret")),
    ):
        pass


def test_a_key_for_https_is_refused_with_both_ways_out() -> None:
    with (
        pytest.raises(WebappsError, match=r"git@github.com(?s:.*)app_release_repository_token"),
        git_access(OVER_HTTPS, Credentials(key=KEY)),
    ):
        pass


@pytest.mark.parametrize(
    ("said", "variable"),
    [
        ("Host key verification failed.\nfatal: Could not read", "app_release_repository_known_hosts"),
        ("git@example.org: Permission denied (publickey).", "app_release_repository_key"),
        ("fatal: Authentication failed for 'https://example.org/'", "app_release_repository_token"),
        ("fatal: could not read Username: terminal prompts disabled", "app_release_repository_token"),
    ],
)
def test_an_answer_of_git_is_told_with_the_variable_that_it_is_about(said: str, variable: str) -> None:
    assert variable in advice(said)


def test_any_other_answer_has_the_address_checked() -> None:
    assert advice("fatal: unable to look up nowhere") == OTHERWISE
