# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack module_utils into one file that a host runs without Ansible, for what timers and hooks start."""

from __future__ import annotations

import ast
import io
import zipfile
from pathlib import Path

from ansible_collections.carpentries.webapps.plugins.module_utils.errors import WebappsError

PACKAGE = "ansible_collections.carpentries.webapps.plugins.module_utils"
SHEBANG = b"#!/usr/bin/python3\n"
# Zip knows no earlier time. A fixed one, because the same code must give the same file.
EPOCH = (1980, 1, 1, 0, 0, 0)
ENTRY = """\
import sys

from {package}.{module} import {function}

sys.exit({function}())
"""


def packed(directory: Path, main: str) -> bytes:
    """An executable archive of one function and all that it imports from module_utils.

    ``directory``: where module_utils is. ``main``: ``module:function``; the function takes nothing and returns an exit
    status. Raises WebappsError for a function that is not there, or one that needs Ansible, which hosts do not have.
    """
    module, _colon, function = main.partition(":")
    if not (module.isidentifier() and function.isidentifier()):
        raise WebappsError(f'"{main}" names no function: give it as MODULE:FUNCTION, for example "pg_backup:main".')
    sources = _closure(directory, module)
    if function not in _functions(sources[module]):
        raise WebappsError(f"{directory / module}.py has no function {function}(): correct the name.")
    files = {f"{PACKAGE.replace('.', '/')}/{name}.py": source for name, source in sources.items()}
    parts = PACKAGE.split(".")
    files |= {"/".join([*parts[:length], "__init__.py"]): "" for length in range(1, len(parts) + 1)}
    files["__main__.py"] = ENTRY.format(package=PACKAGE, module=module, function=function)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in sorted(files):
            opened.writestr(zipfile.ZipInfo(name, EPOCH), files[name])
    return SHEBANG + archive.getvalue()


def _closure(directory: Path, module: str) -> dict[str, str]:
    """The sources of a module and of all modules of this collection that it imports, directly or not."""
    sources: dict[str, str] = {}
    wanted = [module]
    while wanted:
        name = wanted.pop()
        if name in sources:
            continue
        path = directory / f"{name}.py"
        if not path.is_file():
            raise WebappsError(f"{path} is missing: only modules of this collection's module_utils can be packed.")
        sources[name] = path.read_text(encoding="utf-8")
        for imported in _imports(sources[name]):
            if imported.startswith(f"{PACKAGE}."):
                wanted.append(imported.removeprefix(f"{PACKAGE}.").partition(".")[0])
            elif imported.partition(".")[0] in {"ansible", "ansible_collections"}:
                raise WebappsError(f"{path} imports {imported}, which hosts do not have: keep it free of Ansible.")
    return sources


def _imports(source: str) -> list[str]:
    """The full names of what a source imports."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` and `from package.module import name` look alike.
            names += [f"{node.module}.{a.name}" for a in node.names] if node.module == PACKAGE else [node.module]
    return names


def _functions(source: str) -> set[str]:
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
