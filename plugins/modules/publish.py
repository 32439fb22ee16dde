#!/usr/bin/python
# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish one program on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: publish
short_description: Replace a running program by its next generation without losing a request
version_added: 1.0.0
author:
  - The Carpentries webapps maintainers (@carpentries)
description:
  - A generation is a program, the release it runs and the environment it runs with. One call starts the wanted
    generation beside the old one, proves it, switches to it and retires the old one, or leaves the old one as it was
    and fails.
  - A program that serves has a unix socket of its own for each generation. nginx connects to the link C(live.sock) of
    the application's directory, and the switch is one atomic rename of that link.
  - Everything is decided from what is found on the host, in supervisor, links and files. A call that was killed
    anywhere is completed, or taken back, by the next one.
  - Only the program's own generations are touched. supervisor is never reloaded and no other program is restarted.
  - A generation that is still retiring when it is wanted again is first waited for, at most as long as its
    O(program.stop_wait).
requirements:
  - supervisor 4.2 or later on the host, running, that includes C(conf.d/*.conf)
  - iproute2 on the host (without it, the module waits a second where it would have looked)
attributes:
  check_mode:
    description: Returns the same steps and does none of them. What is missing on the host becomes a warning.
    support: full
  diff_mode:
    description: Shows which generation serves, where the links point and which programs run.
    support: full
options:
  root:
    description: The application's directory, named after its domain.
    type: path
    required: true
  release:
    description: The id of the release to run. It must be staged on the host.
    type: str
    required: true
  environment_digest:
    description: The name of the file in C(environments/) with the variables to run with.
    type: str
    required: true
  program:
    description: How the program runs, whatever the release. A change of any of it is a new generation.
    type: dict
    required: true
    suboptions:
      name:
        description: What it is called. Lower-case letters, digits and underscores.
        type: str
        required: true
      command:
        description:
          - The command, relative to the release's directory. Supervisor splits it into words as a shell does, but
            there is no shell.
          - V({socket}) stands for the generation's socket, V({release_dir}) for the release's directory,
            V({generation}) for the generation's id, V({root}) for O(root) and V({process}) for the process's number.
        type: str
        required: true
      user:
        description: The user to run as. It must be able to read the environment's file.
        type: str
        required: true
      processes:
        description: How many processes to run.
        type: int
        default: 1
      umask:
        description: The umask, octal.
        type: str
        default: "027"
      stop_signal:
        description: The signal that makes the program finish its work and end.
        type: str
        choices: [TERM, HUP, INT, QUIT, USR1, USR2]
        default: TERM
      stop_wait:
        description: Seconds after that signal until supervisor kills. More than the longest request or job takes.
        type: int
        default: 60
      start_seconds:
        description: Seconds that a process must stay up before supervisor calls it running.
        type: int
        default: 1
      stdout_logfile:
        description: The file for stdout and stderr. supervisor does not rotate it.
        type: path
        required: true
  serves:
    description:
      - Whether the program has a socket that nginx connects to. Then C(live.sock), C(repo), C(environment) and the
        ledger follow it.
    type: bool
    required: true
  moves_links:
    description:
      - Whether C(repo), C(environment) and the ledger follow a program that does not serve. For hosts on which none
        serves. Always so for one that serves.
    type: bool
    default: false
  overlap:
    description:
      - Whether the old generation runs until the new one is proven. V(false) stops it first; if the new one then fails,
        the old one is started again and proven.
    type: bool
    default: true
  anew:
    description:
      - Whether a generation that runs already is stopped and started again, for one that runs and does not work.
      - Not for a program that serves.
    type: bool
    default: false
  proof:
    description: What shows that a generation works. Without O(proof.http) and O(proof.command), staying up does.
    type: dict
    default: {}
    suboptions:
      http:
        description: A request to the generation's own socket that must be answered with status 200.
        type: dict
        suboptions:
          path:
            description: The path to ask for.
            type: str
            required: true
          host:
            description: The Host header.
            type: str
            required: true
          scheme:
            description: What the header X-Forwarded-Proto says.
            type: str
            choices: [http, https]
            default: https
          expect:
            description: Text that the value of a header or the body must contain. Empty, the status is enough.
            type: str
            default: ""
      command:
        description:
          - A command that must end with 0, run once every process is up, as the program's user, with the
            environment and with C(WEBAPPS_PROGRAM) (the name in supervisor), C(WEBAPPS_GENERATION) and
            C(WEBAPPS_RELEASE). It is repeated until it does or the time is over.
          - A first word that is not an absolute path is relative to the release's directory.
        type: list
        elements: str
        default: []
      stdin:
        description: What the command reads from stdin.
        type: str
        default: ""
      timeout:
        description: Seconds within which the generation must prove itself. A process that ends fails at once.
        type: int
        default: 60
      no_worse:
        description:
          - Whether it is enough, at the end of O(proof.timeout), to be no worse than the generation that serves. Where
            that one does not answer with 200 before anything is begun, the wanted one may answer with the same status,
            or with any if that one does not answer at all, over its socket and through nginx, as long as it says
            O(proof.http.expect). A warning says so.
          - For a way back, as what both stand on may be down. Only with O(proof.http).
        type: bool
        default: false
  front:
    description: Where to ask nginx for the same as O(proof.http), after the switch. The switch is undone if that fails.
    type: dict
    suboptions:
      scheme:
        description: How to ask. The certificate is not verified, as the question is which release answers.
        type: str
        choices: [http, https]
        default: http
      port:
        description: The port of nginx on this host.
        type: int
        required: true
      host:
        description: The Host header, and the name for TLS. By default that of O(proof.http.host).
        type: str
      path:
        description: The path. By default that of O(proof.http.path).
        type: str
      timeout:
        description: Seconds within which nginx must answer with the new generation.
        type: int
        default: 10
  retire_timeout:
    description:
      - Seconds to wait for the old generation's last work. What takes longer finishes by itself, is returned in
        RV(retiring), and the next call removes what is left of it.
    type: int
    default: 30
  supervisor_socket:
    description: The socket of supervisord.
    type: path
    default: /var/run/supervisor.sock
  supervisor_directory:
    description: The directory of supervisor's program files.
    type: path
    default: /etc/supervisor/conf.d
notes:
  - Run as root.
  - nginx must open a new connection to C(live.sock) for each request, thus no C(keepalive) in its upstream.
seealso:
  - module: carpentries.webapps.release
  - module: carpentries.webapps.generation_info
"""

EXAMPLES = r"""
- name: publish | Prove the new release, switch to it, retire the old one
  carpentries.webapps.publish:
    root: /webapps/amy.example.org
    release: 0123456789-89abcdef
    environment_digest: 76543210
    program:
      name: gunicorn
      command: .venv/bin/gunicorn --bind unix:{socket} --graceful-timeout 60 config.wsgi
      user: amy
      stop_wait: 75
      stdout_logfile: /webapps/amy.example.org/logs/gunicorn_supervisor.log
    serves: true
    proof:
      http:
        path: /healthz/
        host: amy.example.org
        expect: 0123456789-89abcdef
    front:
      port: 80

- name: publish | Start the new workers, let the old ones finish their jobs
  carpentries.webapps.publish:
    root: /webapps/amy.example.org
    release: 0123456789-89abcdef
    environment_digest: 76543210
    program:
      name: rqworker
      command: .venv/bin/python manage.py rqworker default
      user: amy
      processes: 3
      stop_wait: 660
      stdout_logfile: /webapps/amy.example.org/logs/rqworker.log
    serves: false
    moves_links: true
    proof:
      command: [.venv/bin/python, manage.py, check]
"""

RETURN = r"""
generation:
  description: The id of the wanted generation.
  type: str
  returned: success
  sample: 0123456789-89abcdef-a1b2c3d4
previous_generation:
  description: The id of the generation that ran before. V(none) if there was no other.
  type: str
  returned: success, and on a failure after something was begun
  sample: 9876543210-fedcba98-4d3c2b1a
differs:
  description:
    - What tells the wanted generation from the one before; nothing, if there was none. Names only, never values.
  type: dict
  returned: success
  contains:
    release:
      description: Whether it runs another release.
      type: bool
      sample: true
    environment:
      description: Whether it runs with other environment variables.
      type: bool
      sample: false
    settings:
      description: Settings of its section in supervisor, and options of its command, that differ.
      type: list
      elements: str
      sample: [command --workers, stopwaitsecs]
steps:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample:
    - Switch live.sock to generation 0123456789-89abcdef-a1b2c3d4
    - Retire generation 9876543210-fedcba98-4d3c2b1a
retiring:
  description: The ids of old generations that still finish their work.
  type: list
  elements: str
  returned: success
  sample: []
probe:
  description: The answer that did not prove the generation.
  type: dict
  returned: when a proof over HTTP failed
  contains:
    url:
      description: What was asked for, and where.
      type: str
      sample: http+unix:/run/webapps/amy.example.org/0123456789-89abcdef-a1b2c3d4.sock:/healthz/
    host:
      description: The Host header.
      type: str
      sample: amy.example.org
    status:
      description: The status. V(none) without an answer.
      type: int
      sample: 500
    body:
      description: The beginning of the body.
      type: str
      sample: Server Error
    error:
      description: Why there was no answer.
      type: str
      sample: ""
proof_command:
  description: How the command ended that did not prove the generation.
  type: dict
  returned: when a proof by a command failed
  contains:
    command:
      description: The command.
      type: str
      sample: .venv/bin/python manage.py check
    status:
      description: Its exit status. V(none) if its time was over.
      type: int
      sample: 1
    output:
      description: The last lines it wrote.
      type: str
      sample: 0 of 3 workers have registered
processes:
  description: What supervisor said of the generation's processes.
  type: list
  elements: str
  returned: when a proof failed
  sample: ["gunicorn-0123456789-89abcdef-a1b2c3d4 FATAL, Exited too quickly (process log may have details)"]
supervisor:
  description: supervisord's own line on how the program ended. Empty if it did not.
  type: str
  returned: when a proof failed
  sample: "WARN exited: gunicorn-0123456789-89abcdef-a1b2c3d4 (exit status 3; not expected)"
log:
  description:
    - The last lines that the program's log got since this start, and before them the exceptions of earlier tracebacks.
  type: list
  elements: str
  returned: when a proof failed
  sample: ["ModuleNotFoundError: No module named 'amy'"]
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.files import alone
from ansible_collections.carpentries.webapps.plugins.module_utils.layout import Layout
from ansible_collections.carpentries.webapps.plugins.module_utils.probe import HttpProbe
from ansible_collections.carpentries.webapps.plugins.module_utils.program import Program
from ansible_collections.carpentries.webapps.plugins.module_utils.publication import publish
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_plan import Front, Proof, Request
from ansible_collections.carpentries.webapps.plugins.module_utils.publication_tools import host_tools
from ansible_collections.carpentries.webapps.plugins.module_utils.supervisor import Supervisor

HTTP: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "host": {"type": "str", "required": True},
    "scheme": {"type": "str", "choices": ["http", "https"], "default": "https"},
    "expect": {"type": "str", "default": ""},
}
PROOF: dict[str, Any] = {
    "http": {"type": "dict", "options": HTTP},
    "command": {"type": "list", "elements": "str", "default": []},
    "stdin": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 60},
    "no_worse": {"type": "bool", "default": False},
}
FRONT: dict[str, Any] = {
    "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
    "port": {"type": "int", "required": True},
    "host": {"type": "str"},
    "path": {"type": "str"},
    "timeout": {"type": "int", "default": 10},
}
PROGRAM: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "command": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "processes": {"type": "int", "default": 1},
    "umask": {"type": "str", "default": "027"},
    "stop_signal": {"type": "str", "choices": ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"], "default": "TERM"},
    "stop_wait": {"type": "int", "default": 60},
    "start_seconds": {"type": "int", "default": 1},
    "stdout_logfile": {"type": "path", "required": True},
}
ARGUMENTS: dict[str, Any] = {
    "root": {"type": "path", "required": True},
    "release": {"type": "str", "required": True},
    "environment_digest": {"type": "str", "required": True},
    "program": {"type": "dict", "required": True, "options": PROGRAM},
    "serves": {"type": "bool", "required": True},
    "moves_links": {"type": "bool", "default": False},
    "overlap": {"type": "bool", "default": True},
    "anew": {"type": "bool", "default": False},
    "proof": {"type": "dict", "default": {}, "options": PROOF},
    "front": {"type": "dict", "options": FRONT},
    "retire_timeout": {"type": "int", "default": 30},
    "supervisor_socket": {"type": "path", "default": "/var/run/supervisor.sock"},
    "supervisor_directory": {"type": "path", "default": "/etc/supervisor/conf.d"},
}


def requested(parameters: dict[str, Any]) -> Request:
    """The module's parameters as a request. Raises WebappsError for values that contradict each other."""
    proof = parameters["proof"]
    http = HttpProbe(**proof["http"]) if proof.get("http") else None
    return Request(
        layout=Layout(Path(parameters["root"])),
        release=parameters["release"],
        environment=parameters["environment_digest"],
        program=Program(**parameters["program"]),
        proof=Proof(
            http=http,
            command=tuple(proof.get("command") or ()),
            stdin=proof.get("stdin") or "",
            timeout=proof.get("timeout") or PROOF["timeout"]["default"],
            no_worse=bool(proof.get("no_worse")),
        ),
        serves=parameters["serves"],
        moves_links=parameters["serves"] or parameters["moves_links"],
        overlap=parameters["overlap"],
        anew=parameters["anew"],
        front=_front(parameters["front"], http),
        retire_timeout=parameters["retire_timeout"],
        conf_dir=Path(parameters["supervisor_directory"]),
    )


def _front(parameters: dict[str, Any] | None, http: HttpProbe | None) -> Front | None:
    if parameters is None:
        return None
    if http is None:
        raise WebappsError("front is given without proof.http: it asks nginx for the same.")
    probe = replace(http, host=parameters["host"] or http.host, path=parameters["path"] or http.path)
    return Front(parameters["scheme"], parameters["port"], probe, timeout=parameters["timeout"])


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    try:
        request = requested(module.params)
        tools = host_tools(Supervisor(module.params["supervisor_socket"]))
        lock = request.layout.root / ".publish.lock"
        patience = request.proof.timeout + request.retire_timeout
        with nullcontext() if module.check_mode else alone(lock, patience, time.monotonic, time.sleep):
            outcome = publish(request, tools, check=module.check_mode)
    except WebappsError as error:
        module.fail_json(msg=error.message, **error.details)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        generation=outcome.generation,
        previous_generation=outcome.previous_generation,
        differs=asdict(outcome.differs),
        steps=outcome.steps,
        retiring=outcome.retiring,
        diff={"before": outcome.before, "after": outcome.after},
    )


if __name__ == "__main__":
    main()
