"""Write each role's table of variables into its README, from meta/argument_specs.yml.

``python -m tools.variables_table`` writes; with ``--check`` it names the READMEs that are out of date and exits 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parent.parent / "roles"
BEGIN, END = "<!-- variables -->", "<!-- /variables -->"


def default_text(option: dict[str, Any]) -> str:
    """How a default reads in the table: JSON-like, shortened, or `required`."""
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return ""
    value = option["default"]
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10_000)
    text = text.removesuffix("\n...\n").strip() or '""'
    return "`" + text.replace("|", "\\|").replace("\n", " ") + "`"


def type_text(option: dict[str, Any]) -> str:
    kind = option.get("type", "str")
    return f"list of {option['elements']}" if kind == "list" and "elements" in option else str(kind)


def sentences(description: str | list[str]) -> str:
    text = description if isinstance(description, str) else " ".join(description)
    return " ".join(text.split()).replace("|", "\\|")


def options_of(specs: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All inputs of a role, of whichever entry point; the same input means the same everywhere."""
    options: dict[str, dict[str, Any]] = {}
    for entry_point in specs["argument_specs"].values():
        options |= entry_point.get("options", {})
    return options


def table(specs: dict[str, Any]) -> str:
    rows = ["| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{name}` | {type_text(option)} | {default_text(option)} | {sentences(option['description'])} |"
        for name, option in options_of(specs).items()
    ]
    return "\n".join(rows)


def with_table(readme: str, specs: dict[str, Any]) -> str:
    """The README with its table replaced. Raises ValueError when it has no place for one."""
    head, begin, rest = readme.partition(BEGIN)
    _old, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"there is no `{BEGIN}` ... `{END}` in it")
    return f"{head}{BEGIN}\n{table(specs)}\n{END}{tail}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for role in sorted(path for path in ROLES.iterdir() if path.is_dir()):
        readme = role / "README.md"
        before = readme.read_text()
        after = with_table(before, yaml.safe_load((role / "meta/argument_specs.yml").read_text()))
        if after != before:
            stale.append(str(readme))
            if not check:
                readme.write_text(after)
    if stale and check:
        print("out of date, run `make docs`: " + ", ".join(stale), file=sys.stderr)
    return int(bool(stale) and check)


if __name__ == "__main__":
    sys.exit(main())
