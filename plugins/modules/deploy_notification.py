#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: deploy_notification
short_description: Tell webhooks, Slack and GitHub that a deploy begins, or how it ended
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - Sends one event of a deploy to everybody in O(notifications) who wants to know of it.
  - A notification that does not arrive is a warning and no failure, whatever the server does. Warnings name the server
    and neither address, token nor secret.
  - Redirections are not followed, because they would take secrets elsewhere.
  - Run it on the controller.
options:
  event:
    description:
      - V(start) before anything is changed on a host; V(success) when the whole fleet was proven to run the release.
      - V(failure) when the deploy failed, and whatever was published is left as it is.
      - V(rollback) when the fleet went back, because the deploy failed or because somebody asked for it, as
        O(about.reason) says.
    type: str
    choices: [start, success, failure, rollback]
    required: true
  about:
    description: What is told. It goes to third parties, so no secrets.
    type: dict
    default: {}
    suboptions:
      application:
        description: The application's name.
        type: str
        default: ""
      stage:
        description: Which of its installations.
        type: str
        default: ""
      domain:
        description: Where users find it.
        type: str
        default: ""
      reason:
        description: Whether it is a V(deploy), or a V(rollback) that somebody asked for.
        type: str
        default: deploy
      version:
        description: What is deployed, as it was asked for.
        type: str
        default: ""
      release:
        description: The id of the release.
        type: str
        default: ""
      commit:
        description: Its commit, where it is known.
        type: str
        default: ""
      run:
        description: The id of the run of ansible-playbook. Events of one run belong to one deployment of GitHub.
        type: str
        default: ""
      who:
        description: Who began it.
        type: str
        default: ""
      cause:
        description: Why it failed; at most 1000 characters are sent.
        type: str
        default: ""
      returned_to:
        description: The version that serves again after a deploy that failed.
        type: str
        default: ""
  notifications:
    description: Who is told.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description:
          - V(webhook) gets the document below by POST. With O(notifications[].secret) the header
            C(X-Webapps-Signature-256) is C(sha256=) and the HMAC-SHA256 of the body in hexadecimal, as GitHub signs its
            webhooks.
          - V(slack) gets a sentence through an incoming webhook.
          - V(github) gets a deployment with the states in_progress, success and failure. Which deployment is this run's
            is asked of GitHub, by the run in its payload.
        type: str
        choices: [webhook, slack, github]
        required: true
      events:
        description: What to tell. With type V(github), V(start) needs the other three.
        type: list
        elements: str
        choices: [start, success, failure, rollback]
        default: [start, success, failure, rollback]
      url:
        description: The address of a webhook or of Slack's incoming webhook.
        type: str
      secret:
        description: What a webhook's document is signed with.
        type: str
      token:
        description: GitHub's token, with the permission to write deployments.
        type: str
      repository:
        description: GitHub's repository that has the version, for example V(carpentries/amy).
        type: str
      environment:
        description: GitHub's environment. Without one it is the stage, or V(production).
        type: str
      api_url:
        description: Where GitHub's API is.
        type: str
        default: https://api.github.com
  timeout:
    description: Seconds that one notification may take in all.
    type: int
    default: 10
attributes:
  check_mode:
    description: Nothing is sent; RV(summary) says who would be told.
    support: full
  diff_mode:
    description: Nothing of a host changes.
    support: none
notes:
  - "A webhook's document has these keys, all of them text: C(event), C(at) (UTC, such as 2026-03-01T12:00:00Z), C(text)
    (a sentence for people), and what O(about) has: C(application), C(stage), C(domain), C(reason), C(version),
    C(release), C(commit), C(run), C(who), C(cause), C(returned_to). What is not known is empty."
"""

EXAMPLES = r"""
- name: Tell that a deploy begins
  carpentries.webapps.deploy_notification:
    event: start
    about:
      application: amy
      stage: production
      version: v4.2.0
      release: 3f2a1b9c0d-9f8e7d6c
      run: r3f2a1b9c0d5e
      who: alice@laptop
    notifications:
      - type: slack
        url: "{{ webapps_secrets.SLACK_WEBHOOK }}"
      - type: github
        repository: carpentries/amy
        token: "{{ webapps_secrets.DEPLOYMENTS_TOKEN }}"
  delegate_to: localhost

- name: Tell a webhook of failures only
  carpentries.webapps.deploy_notification:
    event: failure
    about:
      application: amy
      version: v4.2.0
      cause: Release 3f2a1b9c0d-9f8e7d6c answers with 500.
    notifications:
      - type: webhook
        url: https://hooks.example.org/deploys
        secret: "{{ webapps_secrets.DEPLOYS_SECRET }}"
        events: [failure, rollback]
  delegate_to: localhost
"""

RETURN = r"""
told:
  description: Who was told; in check mode, who would be.
  returned: success
  type: list
  elements: str
  sample: [slack hooks.slack.com, github carpentries/amy]
untold:
  description: Who could not be told, and why.
  returned: success
  type: list
  elements: dict
  contains:
    label:
      description: Who.
      type: str
      sample: slack hooks.slack.com
    problem:
      description: Why not.
      type: str
      sample: it answered 404 Not Found
  sample: []
summary:
  description: The same in a sentence; empty where nobody wants to know.
  returned: success
  type: str
  sample: "start was told to slack hooks.slack.com, github carpentries/amy."
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.carpentries.webapps.plugins.module_utils import deploy_notification as notification
from ansible_collections.carpentries.webapps.plugins.module_utils.deploy_notification import (
    EVENTS,
    GITHUB_API,
    MAX_ANSWER,
    TYPES,
    HttpError,
    Send,
    Told,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# GitHub answers 100 deployments in less.
MAX_BODY = 2_000_000


def sender(timeout: float) -> Send:
    """What sends a request and reads a document of JSON, if that is what comes."""

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Any:
        try:
            with open_url(
                url,
                method=method,
                headers=dict(headers),
                data=body,
                timeout=timeout,
                http_agent="carpentries.webapps",
                follow_redirects="none",
                use_netrc=False,
            ) as answer:
                content = answer.read(MAX_BODY)
        except HTTPError as error:
            raise HttpError(f"it answered {error.code} {error.reason}{said(error)}") from None
        except URLError as error:
            raise HttpError(f"it cannot be reached: {error.reason}") from None
        except (OSError, HTTPException) as error:
            raise HttpError(f"it cannot be reached: {type(error).__name__}") from None
        try:
            return json.loads(content)
        except ValueError:
            return None

    return send


def said(error: HTTPError) -> str:
    """What GitHub says of a refusal."""
    try:
        message = json.loads(error.read(MAX_BODY))["message"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return ""
    return f", {' '.join(str(message).split())[:MAX_ANSWER]}"


def summary(event: str, told: list[Told], check: bool) -> str:
    names = ", ".join(one.label for one in told if not one.problem)
    if not names:
        return ""
    return f"In check mode nobody is told; {event} would go to {names}." if check else f"{event} was told to {names}."


def main() -> None:
    fields = {name: {"type": "str", "default": ""} for name in notification.About.__dataclass_fields__}
    module = AnsibleModule(
        argument_spec={
            "event": {"type": "str", "choices": list(EVENTS), "required": True},
            "about": {
                "type": "dict",
                "default": {},
                "options": {**fields, "reason": {"type": "str", "default": "deploy"}},
            },
            "notifications": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "type": {"type": "str", "choices": list(TYPES), "required": True},
                    "events": {"type": "list", "elements": "str", "choices": list(EVENTS), "default": list(EVENTS)},
                    "url": {"type": "str", "no_log": True},
                    "secret": {"type": "str", "no_log": True},
                    "token": {"type": "str", "no_log": True},
                    "repository": {"type": "str"},
                    "environment": {"type": "str"},
                    "api_url": {"type": "str", "default": GITHUB_API},
                },
            },
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        notification.refused(params["notifications"])
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    told = notification.tell(
        [notification.target_of(one) for one in params["notifications"]],
        params["event"],
        notification.about_of(params["about"] or {}),
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        sender(params["timeout"]),
        params["timeout"],
        check=module.check_mode,
    )
    untold = [one for one in told if one.problem]
    for one in untold:
        module.warn(f"{one.label} was not told of {params['event']}: {one.problem}. The deploy goes on.")
    module.exit_json(
        changed=False,
        told=[one.label for one in told if not one.problem],
        untold=[asdict(one) for one in untold],
        summary=summary(params["event"], told, module.check_mode),
    )


if __name__ == "__main__":
    main()
