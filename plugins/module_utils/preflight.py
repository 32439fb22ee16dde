# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight: import a release's settings with the environment that it will have, and name what that lacks.

Django's own commands show a missing variable in many ways, or only say that models are not loaded yet.
"""

from __future__ import annotations

import re

from ansible_collections.carpentries.webapps.plugins.module_utils.commands import Finished, Run
from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError
from ansible_collections.carpentries.webapps.plugins.module_utils.migrations import Application
from ansible_collections.carpentries.webapps.plugins.module_utils.release_command import Masked

# Runs as far as manage.py goes to find the settings (their name, its own entries of sys.path), and imports them.
PROGRAM = """\
import importlib, os, pathlib, runpy, sys

name = sys.argv[1]
if name:
    os.environ["DJANGO_SETTINGS_MODULE"] = name
sys.path[0] = os.getcwd()

def import_settings(*ignored):
    importlib.import_module(os.environ["DJANGO_SETTINGS_MODULE"])

if pathlib.Path("manage.py").is_file():
    import django.core.management
    django.core.management.execute_from_command_line = import_settings
    sys.argv = ["manage.py", "check"]
    runpy.run_path("manage.py", run_name="__main__")
elif "DJANGO_SETTINGS_MODULE" in os.environ:
    import_settings()
else:
    sys.exit("there is no manage.py that names the settings: set app_release_settings_module")
"""
# How settings say that a variable is missing: Python itself, django-environ, python-decouple, environs and by hand.
MISSING = (
    re.compile(r"^KeyError: '([A-Za-z_]\w*)'$"),
    re.compile(r"Set the (\w+) environment variable"),
    re.compile(r"(\w+) not found\. Declare it as envvar"),
    re.compile(r"[Ee]nvironment variable ['\"`]?([A-Z_][A-Z0-9_]*)['\"`]? (?:is )?(?:missing|not set|required)"),
    re.compile(r"[Mm]issing (?:required )?environment variable:? ['\"`]?([A-Z_][A-Z0-9_]*)"),
)
# Settings stop at the first: each run names one more.
MOST = 40
PLACEHOLDER = "placeholder"


def preflight(run: Run, application: Application, settings: str) -> None:
    """Import the settings. ``settings``: their module, "" where manage.py knows. Raises WebappsError."""
    python = Masked(run, application)

    def attempt(given: list[str]) -> Finished:
        words = [".venv/bin/python", "-c", PROGRAM, settings]
        return python(["/usr/bin/env", *(f"{name}={PLACEHOLDER}" for name in given), *words])

    missing: list[str] = []
    first = finished = attempt(missing)
    while finished.status != 0 and len(missing) < MOST:
        name = missing_variable(finished.errors)
        if name is None or name in missing:
            break
        missing.append(name)
        finished = attempt(missing)
    if first.status != 0:
        raise WebappsError(_message(application, missing, first))


def missing_variable(errors: str) -> str | None:
    """The environment variable that the end of a traceback says is missing, or None when it says something else."""
    last = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "")
    return next((found[1] for pattern in MISSING if (found := pattern.search(last))), None)


def _message(application: Application, missing: list[str], finished: Finished) -> str:
    where = f"The settings of the release {application.release} cannot be imported with the environment of this host"
    if not missing:
        return f"{where}: {finished.last_words}\nCheck app_release_environment, and app_release_settings_module."
    many = f"{len(missing)} variables are missing" if len(missing) > 1 else "a variable is missing"
    last = finished.errors.strip().splitlines()[-1]
    return (
        f"{where}: {many}: {', '.join(missing)}. Set {'them' if len(missing) > 1 else 'it'} in app_release_environment "
        f"or in the file of app_release_environment_file.\nThe application's own words: {last}"
    )
