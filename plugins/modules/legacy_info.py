#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: legacy_info
short_description: Tell whether a server laid out by hand can be adopted, and what of it there is
version_added: 1.0.0
description:
  - Looks at a host on which somebody set up an application without this collection, a directory C(repo) with C(.venv)
    inside, gunicorn, rqworker and rqscheduler as programs of supervisor, and a virtual host of nginx.
  - Fails with a list of everything that is not as expected, and of what is. Changes nothing.
  - On a host that is adopted, or was never laid out by hand, it finds nothing to do.
extends_documentation_fragment:
  - carpentries.webapps.legacy_server
options:
  redis:
    description:
      - Redis as its role is going to configure it. Programs that it would lock out are refused. Without it, nothing is
        said of Redis.
    type: dict
    suboptions:
      here:
        description: Whether it is this host's.
        type: bool
        required: true
      names:
        description: What other hosts call its host, names or addresses.
        type: list
        elements: str
        default: []
      bind:
        description: The addresses that it answers at besides loopback.
        type: list
        elements: str
        default: []
      port:
        description: Its port.
        type: int
        default: 6379
      user:
        description: The user that programs log in as.
        type: str
        required: true
      digests:
        description: SHA-256 of the passwords of that user. Empty if none is asked for.
        type: list
        elements: str
        default: []
      default_user:
        description: Whether these passwords open the default user too.
        type: bool
        default: false
      without_password:
        description: Whether the default user needs none.
        type: bool
        default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is never a difference.
    support: none
author:
  - The Carpentries webapps maintainers (@carpentries)
notes:
  - Run as root.
seealso:
  - module: carpentries.webapps.legacy_import
"""

EXAMPLES = r"""
- name: Look at what there is
  carpentries.webapps.legacy_info:
    root: /webapps/amy.example.org
    programs: [gunicorn, rqworker, rqscheduler]
    app: config.wsgi:application
    certificate: /etc/letsencrypt/live/amy.example.org/fullchain.pem
  register: legacy
"""

RETURN = r"""
adopted:
  description: Whether nothing is left to be adopted.
  returned: success
  type: bool
  sample: false
imported:
  description: Whether C(repo) is the link to a release already.
  returned: success
  type: bool
  sample: false
found:
  description: What is as expected, a line each.
  returned: always
  type: list
  elements: str
  sample: ["The program gunicorn of supervisor runs gunicorn (RUNNING)."]
problems:
  description: What is in the way, and what was expected in its place.
  returned: failure
  type: list
  elements: dict
  sample: [{found: "there is no /webapps/amy.example.org/repo/manage.py.", expected: "a Django application."}]
notes:
  description: What a person may want to know, a line each.
  returned: success
  type: list
  elements: str
  sample: ["certbot goes on renewing the certificate (nginx in /etc/letsencrypt/renewal/amy.example.org.conf)."]
programs:
  description: The application's programs in supervisor that this collection did not write.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name in supervisor.
      type: str
      sample: amy-gunicorn
    kind:
      description: V(gunicorn), V(rqworker) or V(rqscheduler).
      type: str
      sample: gunicorn
    command:
      description: The command in its file.
      type: str
      sample: /webapps/amy.example.org/repo/.venv/bin/gunicorn config.wsgi
    pids:
      description: Its processes.
      type: list
      elements: int
      sample: [812]
site:
  description: The file of nginx's virtual host, or null.
  returned: success
  type: str
  sample: /etc/nginx/sites-enabled/amy
variables:
  description: The names of the application's environment variables, never a value.
  returned: success
  type: list
  elements: str
  sample: [AMY_SECRET_KEY, DJANGO_SETTINGS_MODULE]
directories:
  description: Owner, group and mode of the directories that get others, as they are now.
  returned: success
  type: list
  elements: dict
  sample: [{path: /webapps/amy.example.org/DB_backups, owner: amy, group: amy, mode: "0755"}]
users:
  description: The users that its processes run as.
  returned: success
  type: list
  elements: str
  sample: [amy]
"""

import grp
import socket
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils import legacy_redis
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import alone_in
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_import import IMPORT_PATIENCE
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_request import ARGUMENTS, look
from ansible_collections.carpentries.webapps.plugins.module_utils.legacy_survey import Survey, checked, user_name
from ansible_collections.carpentries.webapps.plugins.module_utils.redis_client import connect, parse_url

REDIS: dict[str, Any] = {
    "here": {"type": "bool", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "bind": {"type": "list", "elements": "str", "default": []},
    "port": {"type": "int", "default": 6379},
    "user": {"type": "str", "required": True},
    "digests": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "default_user": {"type": "bool", "default": False},
    "without_password": {"type": "bool", "default": False},
}


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def directories(root: Path) -> list[dict[str, Any]]:
    """Who owns the application's directory and those in it."""
    found = [root, *sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())]
    return [
        {
            "path": str(path),
            "owner": user_name(path.stat().st_uid),
            "group": group_name(path.stat().st_gid),
            "mode": f"{path.stat().st_mode & 0o7777:04o}",
        }
        for path in found
    ]


def resolved(name: str) -> Collection[str]:
    """The addresses of a name; none where it is unknown."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()


def is_open(port: int) -> bool:
    """Whether this host's Redis lets in whoever gives no password."""
    try:
        connect(parse_url(f"redis://127.0.0.1:{port}/")).close()
    except WebappsError:
        return False
    return True


def with_redis(seen: Survey, redis: dict[str, Any] | None) -> Survey:
    """The survey, with what Redis would do to programs that are still to be replaced."""
    if redis is None or not seen.programs:
        return seen
    planned = legacy_redis.Planned(**redis)
    found = legacy_redis.problems(planned, seen.variables, resolved, lambda: is_open(planned.port))
    return replace(seen, problems=[*seen.problems, *found])


def main() -> None:
    module = AnsibleModule({**ARGUMENTS, "redis": {"type": "dict", "options": REDIS}}, supports_check_mode=True)
    try:
        # An import whose controller was killed goes on here: what it changes is seen whole or not at all.
        with alone_in(Path(module.params["root"]), IMPORT_PATIENCE, time.monotonic, time.sleep, "import"):
            layout, seen = look(module.params, module.get_bin_path("nginx"))
        checked(with_redis(seen, module.params["redis"]))
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    module.exit_json(
        changed=False,
        adopted=seen.adopted,
        imported=seen.imported,
        found=list(seen.found),
        notes=list(seen.notes),
        programs=[
            {"name": program.name, "kind": program.kind, "command": program.command, "pids": program.pids}
            for program in seen.programs
        ],
        site=str(seen.site.path) if seen.site else None,
        variables=sorted(seen.variables),
        directories=directories(layout.root),
        users=sorted({user_name(process.user) for process in seen.processes}),
    )


if __name__ == "__main__":
    main()
