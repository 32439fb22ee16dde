"""Keep what zipimport compiles, by its content.

Ansible brings each task's module and its libraries in a zip, and Python compiles a zip's sources for each process anew:
half of what a task costs a host. A real host has its processors to itself; containers share those of their developer.
Only the distribution's Python does this, never an application's environment.
"""

from __future__ import annotations

import _imp
import importlib._bootstrap_external as importing
import marshal
import os
import zipimport
from types import CodeType

# Gone at each boot, and not part of what the tests compare of a host.
KEPT = "/run/compiled-modules"

compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def compile_once(path: str, source: bytes) -> CodeType:
    # As Python names what it keeps of files by their content; hashlib would take longer to load than this to run.
    hashed = _imp.source_hash(importing._RAW_MAGIC_NUMBER, source)  # type: ignore[attr-defined]
    name = f"{hashed.hex()}-{len(source)}"
    try:
        with open(os.path.join(KEPT, name), "rb") as kept:
            code: CodeType = marshal.load(kept)
    except FileNotFoundError:
        code = compile_source(path, source)
        if os.geteuid() == 0:
            keep(name, code)
        return code
    # Tracebacks name the zip of this process.
    _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
    return code


def keep(name: str, code: CodeType) -> None:
    os.makedirs(KEPT, mode=0o755, exist_ok=True)
    partial = os.path.join(KEPT, f".{name}.{os.getpid()}")
    with open(partial, "wb") as kept:
        marshal.dump(code, kept)
    os.chmod(partial, 0o644)
    os.replace(partial, os.path.join(KEPT, name))


zipimport._compile_source = compile_once  # type: ignore[attr-defined]
