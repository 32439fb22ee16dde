#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a commit brings against the one that serves."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_changes
short_description: List the commits and migrations between what serves and what is to be deployed
version_added: 1.0.0
description:
  - Asks a git repository's server for the commits between two, and for the files of Django migrations that the later
    one adds or lacks.
  - What it fetches, commits and trees without the content of files, goes to a directory for this user alone that is
    removed at the end. Nothing else is written.
  - What cannot be known is no error. RV(known) is then false and RV(reason) says why.
author:
  - The Carpentries webapps maintainers (@carpentries)
extends_documentation_fragment:
  - carpentries.webapps.git_access
options:
  repository:
    description: The address of the application's git repository, as git takes it, without password or token.
    type: str
    required: true
  commit:
    description: The full id of the commit that is to be deployed.
    type: str
    required: true
  live_commit:
    description: The full id of the commit that serves. Empty if nobody knows.
    type: str
    default: ""
  limit:
    description: How many commits to name, at most; the others are counted.
    type: int
    default: 50
  timeout:
    description: Seconds that one transfer may take.
    type: int
    default: 600
attributes:
  check_mode:
    description: The module changes nothing, so check mode makes no difference.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
requirements:
  - git on the host
seealso:
  - module: carpentries.webapps.release_plan
"""

EXAMPLES = r"""
- name: See what a deploy would bring
  carpentries.webapps.release_changes:
    repository: https://github.com/carpentries/amy.git
    commit: 3f2a1b9c0d5e6f708192a3b4c5d6e7f8091a2b3c
    live_commit: 0a1b2c3d4e5f60718293a4b5c6d7e8f901122334
  register: changes
"""

RETURN = r"""
known:
  description: Whether the server could be asked about both commits.
  returned: success
  type: bool
  sample: true
reason:
  description: Why not.
  returned: success
  type: str
  sample: ""
commits:
  description: The commits that are new, the latest first, at most O(limit), each with its shortened id.
  returned: success
  type: list
  elements: str
  sample: [3f2a1b9c0d Ask instructors for their availability]
commits_count:
  description: How many there are.
  returned: success
  type: int
  sample: 1
dropped:
  description: The commits that serve and would not any more, the latest first, at most O(limit).
  returned: success
  type: list
  elements: str
  sample: []
dropped_count:
  description: How many there are.
  returned: success
  type: int
  sample: 0
migrations:
  description: Files of migrations that are new. Whether a database lacks them, the source cannot tell.
  returned: success
  type: list
  elements: dict
  contains:
    app:
      description: The directory of the Django application, by default its label.
      type: str
      sample: workshops
    name:
      description: The migration's name.
      type: str
      sample: 0262_membership
    path:
      description: The file.
      type: str
      sample: amy/workshops/migrations/0262_membership.py
migrations_removed:
  description: Files of migrations that serve and are not there any more, in the same form.
  returned: success
  type: list
  elements: dict
  sample: []
"""

import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Run, runner
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.git_access import (
    GIT_ARGUMENTS,
    Credentials,
    git_access,
)
from ansible_collections.carpentries.webapps.plugins.module_utils.release_changes import Question, changes
from ansible_collections.carpentries.webapps.plugins.module_utils.release_plan import COMMIT_ID, checked_repository


def asked(run: Run, params: dict[str, Any], scratch: str) -> dict[str, Any]:
    """The result of the module. ``scratch``: a directory for this user alone. Raises WebappsError."""
    repository = checked_repository(params["repository"])
    if not COMMIT_ID.fullmatch(params["commit"]):
        raise WebappsError(f'commit is "{params["commit"]}": give the full id, 40 hexadecimal digits.')
    # An adopted release may have been made of no commit.
    live = params["live_commit"] if COMMIT_ID.fullmatch(params["live_commit"]) else ""
    question = Question(repository, params["commit"], live, params["limit"], params["timeout"])
    credentials = Credentials(params["key"], params["known_hosts"], params["token"], params["token_user"])
    with git_access(repository, credentials) as access, tempfile.TemporaryDirectory(dir=scratch) as place:
        return changes(run, Path(place), question, access)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "commit": {"type": "str", "required": True},
            "live_commit": {"type": "str", "default": ""},
            "limit": {"type": "int", "default": 50},
            "timeout": {"type": "int", "default": 600},
            **GIT_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    try:
        result = asked(runner(module), module.params, module.tmpdir)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
