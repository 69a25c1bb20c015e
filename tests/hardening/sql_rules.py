"""Reads Python source and tells where SQL is put together at run time instead of being a constant with parameters.

A statement is whatever reaches `query`, `execute` and their like as the first argument. It may be a text, a module's
constant (here or imported), or a parameter called `sql` that is only handed on, in which case the callers of that
function are looked at as well. Everything else is reported, also a reference to such a method that is not a call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SINKS = frozenset({"query", "execute", "executemany", "insert", "callproc", "mogrify", "_cursor"})
SETUP = frozenset({"init_command"})
"""Keywords whose value is sent to the server as a statement."""
PARAMETER = "sql"


@dataclass(frozen=True, order=True)
class Finding:
    """`where` is module:function; `statement` the expression, as ast writes it."""

    where: str
    statement: str


@dataclass
class Module:
    name: str
    tree: ast.Module
    constants: Mapping[str, ast.expr]
    """What is assigned once, at the top."""

    @property
    def texts(self) -> set[str]:
        return {name for name, value in self.constants.items() if _is_text(value)}

    @property
    def imported(self) -> set[tuple[str, str]]:
        """(module's last name, name) of everything imported from elsewhere; renamed ones are left out."""
        imports = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        return {((i.module or "").rpartition(".")[2], a.name) for i in imports for a in i.names if a.asname is None}

    @classmethod
    def read(cls, path: Path, root: Path) -> Module:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
        named = [(t.id, node.value) for node in assigned for t in node.targets if isinstance(t, ast.Name)]
        once = {name for name, _ in named if [other for other, _ in named].count(name) == 1}
        return cls(path.relative_to(root).as_posix(), tree, {name: value for name, value in named if name in once})


def read_modules(root: Path, *folders: str) -> list[Module]:
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [Module.read(path, root) for path in paths]


def findings(modules: list[Module]) -> list[Finding]:
    """Every statement that is not a constant, in the order of modules."""
    texts = {(Path(module.name).stem, name) for module in modules for name in module.texts}
    sinks = SINKS | {
        function.name for module in modules for function in _functions(module.tree) if _takes_sql(function)
    }
    return [
        found
        for module in modules
        for found in _of_module(module, sinks, module.texts | {name for _, name in module.imported & texts})
    ]


def _is_text(node: ast.expr) -> bool:
    """A literal; the parser has joined adjacent ones already."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _takes_sql(function: ast.FunctionDef) -> bool:
    return any(argument.arg == PARAMETER for argument in (*function.args.args, *function.args.kwonlyargs))


def _of_module(module: Module, sinks: frozenset[str], texts: set[str]) -> Iterator[Finding]:
    for function, node in _with_function(module.tree):
        where = f"{module.name}:{function.name if function else ''}"
        for statement in _statements(node, sinks):
            if not _is_text(statement) and not _is_known(statement, function, texts):
                yield Finding(where, ast.unparse(statement))
        if isinstance(node, ast.FunctionDef) and _takes_sql(node) and _changes_sql(node):
            yield Finding(f"{module.name}:{node.name}", f"{PARAMETER} is assigned")


Within = tuple[ast.FunctionDef | None, ast.AST]


def _with_function(tree: ast.AST, function: ast.FunctionDef | None = None) -> Iterator[Within]:
    for child in ast.iter_child_nodes(tree):
        yield function, child
        yield from _with_function(child, child if isinstance(child, ast.FunctionDef) else function)


def _statements(node: ast.AST, sinks: frozenset[str]) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg in SETUP)
        if _name(node.func) in sinks:
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg in (PARAMETER, None))]
            yield from given[:1]
        # A sink that is passed on is out of sight: whoever calls it there may give it anything.
        yield from (argument for argument in node.args if _is_sink(argument, sinks))
    elif isinstance(node, ast.Assign | ast.Return) and node.value is not None and _is_sink(node.value, sinks):
        yield node.value


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_sink(node: ast.expr, sinks: frozenset[str]) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in sinks


def _is_known(node: ast.expr, function: ast.FunctionDef | None, texts: set[str]) -> bool:
    """A module's constant, or the parameter that is handed on."""
    if not isinstance(node, ast.Name):
        return False
    handed_on = node.id == PARAMETER and function is not None and _takes_sql(function)
    local = function is not None and node.id in _local_names(function)
    return handed_on or (node.id in texts and not local)


def _local_names(function: ast.FunctionDef) -> set[str]:
    return _stored(function) | {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}


def _stored(function: ast.FunctionDef) -> set[str]:
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


def _changes_sql(function: ast.FunctionDef) -> bool:
    return PARAMETER in _stored(function)
