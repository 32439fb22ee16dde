# Copyright (c) 2026, The Carpentries webapps maintainers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which models the function of a data migration can reach.

The text of this file is part of what `manage.py shell` of a release runs, so it imports nothing of the collection.
"""

from __future__ import annotations

import ast
import textwrap

# Builtins that reach nothing but their arguments.
HARMLESS = {"any", "bool", "dict", "enumerate", "len", "list", "print", "range", "set", "sorted", "str", "tuple", "zip"}
# What brings in code that is not in the function.
FOREIGN = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# What a function may ask of a model, its manager, querysets and rows. Any other attribute may be a relation, whose row
# belongs to another table, or take SQL.
OWN = {
    *("all", "bulk_create", "count", "create", "delete", "exclude", "exists", "filter", "first", "get", "get_model"),
    *("iterator", "none", "objects", "order_by", "pk", "save", "update", "values", "values_list"),
}


def named_models(source: str) -> list[list[str]] | None:
    """The models that a function names, each as an application's label and a name; None where it may reach others.

    It may unless it takes models from ``apps.get_model`` by literal names, follows no relation of theirs, and calls
    nothing from outside of it.
    """
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return None
    function = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(function, ast.FunctionDef) or not _plain(function):
        return None
    apps = function.args.args[0].arg
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    models = [model for node in nodes if isinstance(node, ast.Call) and (model := _model(node, apps))]
    used = [name.id for name in names if isinstance(name.ctx, ast.Load)]
    if (
        any(isinstance(node, FOREIGN) for node in nodes)
        or any(isinstance(node, ast.Attribute) and node.attr not in OWN for node in nodes)
        or apps in own
        or used.count(apps) != len(models)
        or not set(used) <= own | HARMLESS | {apps}
    ):
        return None
    return models


def _plain(function: ast.FunctionDef) -> bool:
    """Whether it takes what RunPython passes, and nothing wraps it."""
    arguments = function.args
    others = (arguments.vararg, arguments.kwarg, *arguments.posonlyargs, *arguments.kwonlyargs, *arguments.defaults)
    wrappers = [
        each for each in function.decorator_list if not (isinstance(each, ast.Name) and each.id == "staticmethod")
    ]
    return len(arguments.args) == 2 and not any(others) and not wrappers


def _model(call: ast.Call, apps: str) -> list[str] | None:
    """The model that a call of ``apps.get_model`` names, None for any other call."""
    asked = call.func
    if not (isinstance(asked, ast.Attribute) and asked.attr == "get_model" and isinstance(asked.value, ast.Name)):
        return None
    words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    model = ".".join(words).split(".")
    literal = asked.value.id == apps and len(words) == len(call.args) and not call.keywords
    return model if literal and len(model) == 2 else None
