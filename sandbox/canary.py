"""The fleet's secrets as canaries: looked for in outputs, in command lines, in every file and in the journals.

Each secret in ``.cache/sandbox/secrets`` is random and made for one fleet, so wherever it is found it has leaked,
unless it is a file that has to hold it. Findings name the secret by its file and never show it.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from sandbox.fleet import ROOT, STATE

# Where logs are: no secret belongs there, whoever may read them.
LOGS = re.compile(r"^/var/log/|^/run/log/|/logs/|\.log(\.\d+)?$")
# Looks through everything that is no device and no kernel's. The patterns come by stdin: in a command line they leak.
SEARCH = r"""
umask 077
patterns=$(mktemp /dev/shm/needles.XXXXXX)
trap 'rm -f "$patterns"' EXIT
cat > "$patterns"
find / /run /run/lock /tmp /dev/shm -xdev -type f ! -path "$patterns" -size -100M -exec grep -lsaFf "$patterns" {} + |
while IFS= read -r path; do
  if runuser --user nobody -- test -r "$path"; then readable=everybody; else readable=no; fi
  printf '%s %s\n' "$readable" "$(stat -c '%a %U %G %n' "$path")"
done
find / -xdev -type f -name '*.tar.zst' | while IFS= read -r path; do
  if zstd -dcq "$path" | grep -qaFf "$patterns"; then printf 'packed 000 root root %s\n' "$path"; fi
done
if journalctl --all --quiet --output=export | grep -qaFf "$patterns"; then
  printf 'logged 000 root root %s\n' /var/log/journal
fi
"""


def secrets(directory: Path = STATE / "secrets") -> dict[str, str]:
    """The fleet's secrets by the names of their files."""
    return {path.name: path.read_text().split(" ", 1)[0].strip() for path in sorted(directory.iterdir())}


@dataclass(frozen=True)
class SecretInput:
    """A role's input, or a part of one, that its argument_specs mark as a secret (`no_log: true`)."""

    role: str
    path: tuple[str, ...]
    type: str

    def given(self, canary: str) -> dict[str, Any]:
        """Extra variables that set this input alone, to the canary."""
        value: Any = {"list": [canary], "dict": {"CANARY": canary}}.get(self.type, canary)
        for part in reversed(self.path):
            value = {part: value}
        return dict(value)


def marked(roles: Path = ROOT / "roles") -> dict[SecretInput, bool | None]:
    """Every input of every role, and what its `no_log` says."""
    found: dict[SecretInput, bool | None] = {}
    for specs in sorted(roles.glob("*/meta/argument_specs.yml")):
        for entry_point in yaml.safe_load(specs.read_text())["argument_specs"].values():
            found |= _marked(specs.parent.parent.name, (), entry_point.get("options") or {})
    return found


def _marked(role: str, above: tuple[str, ...], options: Mapping[str, Any]) -> dict[SecretInput, bool | None]:
    found: dict[SecretInput, bool | None] = {}
    for name, option in options.items():
        path = (*above, name)
        found[SecretInput(role, path, option.get("type", "str"))] = option.get("no_log")
        found |= _marked(role, path, option.get("options") or {})
    return found


def secret_inputs() -> list[SecretInput]:
    return [given for given, no_log in marked().items() if no_log]


def forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, quoted for shells, URLs, JSON and Python, in hexadecimal and base64."""
    found = {secret, shlex.quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    found.add(secret.encode().hex())
    # Within a longer text base64 begins at any of three places; what depends on the neighbours is cut off.
    for shift in range(3):
        raw = b"\0" * shift + secret.encode()
        encoded = base64.b64encode(raw).decode().rstrip("=")
        found.add(encoded[-(-shift * 8 // 6) : len(raw) * 8 // 6])
    return found | {form.replace("+", "-").replace("/", "_") for form in found}


class Needles:
    """Every form of every secret."""

    def __init__(self, known: Mapping[str, str]) -> None:
        assert all(len(secret) >= 12 for secret in known.values()), "a short secret is found by chance"
        self.names = {form.encode(): name for name, secret in known.items() for form in forms(secret)}
        self._pattern = re.compile(b"|".join(re.escape(form) for form in sorted(self.names, key=len, reverse=True)))

    def within(self, content: bytes) -> set[str]:
        """The names of the secrets in this."""
        return {self.names[found] for found in set(self._pattern.findall(content))}

    @property
    def lines(self) -> bytes:
        """For grep: a form a line."""
        return b"\n".join(sorted(self.names)) + b"\n"


@dataclass
class CommandLines(threading.Thread):
    """Reads the command line of every process, again and again: the hosts are containers, so theirs are among them."""

    needles: Needles
    interval: float = 0.02
    leaks: set[str] = field(default_factory=set)
    rounds: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                for name in self.needles.within(line):
                    program = line.split(b"\0")[0].decode(errors="replace")
                    self.leaks.add(f"{name} in a command line of {Path(program).name}")
            self.rounds += 1
            time.sleep(self.interval)

    def stop(self) -> None:
        self.done.set()
        self.join(30)


@dataclass(frozen=True)
class Finding:
    """A file of a host with a secret in it. ``readable``: by everybody, or packed or logged, where nobody's matters."""

    host: str
    readable: str
    mode: int
    user: str
    group: str
    path: str

    def is_leak(self, groups: Iterable[str]) -> bool:
        """Whether somebody may read it besides root, its owner and these groups, or it is where no secret belongs.

        What everybody may read is a leak in a closed directory too: directories are opened without a thought of it.
        """
        shared = bool(self.mode & 0o040) and self.group not in ("root", *groups)
        return self.readable != "no" or bool(self.mode & 0o004) or shared or LOGS.search(self.path) is not None


def search_host(host: str, needles: Needles) -> list[Finding]:
    """Every file of a machine that holds a secret, and its journal."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", f"webapps-{host}", "bash", "-c", SEARCH],
        input=needles.lines,
        capture_output=True,
        check=True,
    )
    rows = (line.split(" ", 4) for line in done.stdout.decode().splitlines())
    return [Finding(host, row[0], int(row[1], 8), row[2], row[3], row[4]) for row in rows]


def search_tree(root: Path, needles: Needles, without: Iterable[Path] = ()) -> list[str]:
    """Every file below a directory of this machine that holds a secret."""
    skipped = set(without)
    found = []
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file() or skipped & {path, *path.parents}:
            continue
        try:
            names = needles.within(path.read_bytes())
        except OSError:
            continue
        found += [f"{name} in {path}" for name in sorted(names)]
    return found
