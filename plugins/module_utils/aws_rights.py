# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether AWS would deny calls that change something, asked of IAM before one is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.carpentries.webapps.plugins.module_utils.aws_patience import statement
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

# AnsibleAWSModule says so when botocore is missing, with the remedy.
with suppress(ImportError):
    from botocore.exceptions import BotoCoreError, ClientError

# Rights, and the resources that they are needed for.
Needed = Sequence[tuple[Sequence[str], Sequence[str]]]

ROLE = re.compile(r"arn:(?P<partition>[^:]+):sts::\d+:assumed-role/(?P<role>[^/]+)/")


class Rights:
    """``client`` makes clients of sts and iam, which repeat nothing: no deploy depends on their answer."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self.client = client

    def check(self, needed: Needed) -> None:
        """Raise WebappsError where IAM says that rights are missing. Where it does not say, nobody knows yet."""
        try:
            who = self._who()
            missing = {
                right: decision
                for rights, resources in needed
                if who and resources
                for right, decision in self._missing(who, rights, resources).items()
            }
        # Most may not ask IAM, and its endpoint may be out of reach.
        except (BotoCoreError, ClientError):
            return
        if missing:
            raise WebappsError(
                f"{who} may not {', '.join(f'{right} ({decision})' for right, decision in missing.items())}, as IAM "
                f"simulates its policies. Add to them: {'; '.join(_statements(needed, missing))}"
            )

    def _who(self) -> str:
        """The user or role whose policies decide; "" for a caller that has none to ask about."""
        arn = str(self.client("sts").get_caller_identity()["Arn"])
        if role := ROLE.match(arn):
            # The path of a role is not in what an assumed one is called.
            return str(self.client("iam").get_role(RoleName=role["role"])["Role"]["Arn"])
        return arn if re.match(r"arn:[^:]+:iam::\d+:user/", arn) else ""

    def _missing(self, who: str, rights: Sequence[str], resources: Sequence[str]) -> dict[str, str]:
        answer = self.client("iam").simulate_principal_policy(
            PolicySourceArn=who, ActionNames=list(rights), ResourceArns=list(resources)
        )
        found = {}
        for result in answer["EvaluationResults"]:
            for one in result.get("ResourceSpecificResults") or [result]:
                decision = one.get("EvalResourceDecision") or result["EvalDecision"]
                # With conditions on what the simulation does not know it says nothing.
                known = not (one.get("MissingContextValues") or result.get("MissingContextValues"))
                if decision != "allowed" and known:
                    found[result["EvalActionName"]] = decision
        return found


def _statements(needed: Needed, missing: Mapping[str, str]) -> list[str]:
    parts = ((sorted(set(rights) & missing.keys()), resources) for rights, resources in needed)
    return [statement(rights, resources) for rights, resources in parts if rights]
