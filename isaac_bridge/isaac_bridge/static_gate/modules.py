"""Names in the Python sources of the wheels: what a module holds, what a class inherits. By AST.

Nothing is imported, so nothing of Isaac Sim has to run.
"""

import ast
import dataclasses
from pathlib import Path

from .wheels import Wheels

_DEPTH = 12     # re-exports followed


@dataclasses.dataclass(frozen=True)
class Module:
    name: str


@dataclasses.dataclass(frozen=True)
class Function:
    """owner: the class in whose body it stands; kind: plain, method, class, static or property."""

    module: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    owner: 'Class | None' = None
    kind: str = 'plain'


@dataclasses.dataclass(frozen=True)
class Class:
    module: str
    node: ast.ClassDef

    @property
    def name(self) -> str:
        return f'{self.module}.{self.node.name}'


@dataclasses.dataclass(frozen=True)
class Variable:
    """A name that a module or a class assigns."""

    module: str
    value: ast.expr | None


@dataclasses.dataclass(frozen=True)
class External:
    """Something outside of the wheels: an import of theirs, or what no source says."""

    name: str


Symbol = Module | Function | Class | Variable | External


class Index:
    """Sources are read when they are first asked for."""

    def __init__(self, wheels: Wheels) -> None:
        self._wheels = wheels
        self._trees: dict[str, tuple[ast.Module, bool] | None] = {}
        self._members: dict[tuple[str, str], Symbol | None] = {}

    def tree(self, name: str) -> tuple[ast.Module, bool] | None:
        """A module's source, and whether it is a package; None for none."""
        if name not in self._trees:
            path = self._wheels.module(name)
            self._trees[name] = None
            if path is not None and path.is_file():
                self._trees[name] = (ast.parse(path.read_text(), str(path)),
                                     path.name == '__init__.py')
            elif path is not None:
                self._trees[name] = (ast.Module([], []), True)
        return self._trees[name]

    def path(self, name: str) -> Path | None:
        return self._wheels.module(name)

    def member(self, module: str, name: str, depth: int = 0) -> Symbol | None:
        """What `module.name` is; None if the wheels have no such thing."""
        key = (module, name)
        if key not in self._members:
            self._members[key] = None       # a circle of star imports ends here
            self._members[key] = self._look_up(module, name, depth)
        return self._members[key]

    def _look_up(self, module: str, name: str, depth: int) -> Symbol | None:
        found = self.tree(module)
        if found is None or depth > _DEPTH:
            return None
        tree, package = found
        symbol: Symbol | None = None
        for statement in _flat(tree.body):
            symbol = self._bound(statement, module, package, name, depth) or symbol
        if symbol is None and self._wheels.module(f'{module}.{name}') is not None:
            symbol = Module(f'{module}.{name}')
        return symbol

    def _bound(self, statement: ast.stmt, module: str, package: bool, name: str,
               depth: int) -> Symbol | None:
        """What a statement of a module's body makes of a name."""
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name == name:
                return Function(module, statement)
            case ast.ClassDef() if statement.name == name:
                return Class(module, statement)
            case ast.Assign() if any(name in _targets(target) for target in statement.targets):
                return Variable(module, statement.value)
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                return Variable(module, statement.value)
            case ast.Import():
                for alias in statement.names:
                    if (alias.asname or alias.name.partition('.')[0]) == name:
                        full = alias.name if alias.asname else name
                        return self.named(full)
            case ast.ImportFrom():
                origin = absolute(statement, module, package)
                for alias in statement.names:
                    if alias.name == '*':
                        if not name.startswith('_') and (
                                symbol := self.member(origin, name, depth + 1)) is not None:
                            return symbol
                    elif (alias.asname or alias.name) == name:
                        return (self.member(origin, alias.name, depth + 1)
                                or External(f'{origin}.{alias.name}'))
        return None

    def named(self, name: str) -> Symbol:
        """A module of the wheels, or something outside of them."""
        return Module(name) if self._wheels.module(name) is not None else External(name)

    def of_class(self, owner: Class, name: str) -> Symbol | None:
        """A member of a class or of its bases; External if a base is not in the wheels."""
        outside = False
        for place in self.lineage(owner):
            if isinstance(place, External):
                outside = True
                continue
            for statement in place.node.body:
                match statement:
                    case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name == name:
                        return Function(place.module, statement, place, _kind(statement))
                    case ast.Assign() if any(name in _targets(t) for t in statement.targets):
                        return Variable(place.module, statement.value)
                    case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                        return Variable(place.module, statement.value)
        return External(f'{owner.name}.{name}') if outside else None

    def lineage(self, owner: Class) -> list[Class | External]:
        """The class and its bases, depth first (the sources have no diamonds)."""
        line: list[Class | External] = [owner]
        for base in owner.node.bases:
            symbol = self.expression(owner.module, base)
            if isinstance(symbol, Class):
                line.extend(self.lineage(symbol))
            elif not (isinstance(base, ast.Name) and base.id in ('object', 'ABC', 'Enum')):
                line.append(External(ast.unparse(base)))
        return line

    def expression(self, module: str, node: ast.expr) -> Symbol | None:
        """What a dotted name in a module's source stands for."""
        match node:
            case ast.Name(id=name):
                return self.member(module, name)
            case ast.Attribute(value=value, attr=name):
                owner = self.expression(module, value)
                if isinstance(owner, Module):
                    return self.member(owner.name, name) or External(f'{owner.name}.{name}')
                if isinstance(owner, Class):
                    return self.of_class(owner, name)
                if isinstance(owner, External):
                    return External(f'{owner.name}.{name}')
            case ast.Constant(value=str(text)):
                return self.expression(module, ast.parse(text, mode='eval').body)
        return None


def absolute(statement: ast.ImportFrom, module: str, package: bool) -> str:
    """The module from which an import statement takes its names."""
    if statement.level == 0:
        return statement.module or ''
    parts = module.split('.')
    keep = len(parts) - statement.level + (1 if package else 0)
    return '.'.join([*parts[:keep], *([statement.module] if statement.module else [])])


def _flat(body: list[ast.stmt]) -> list[ast.stmt]:
    """A module's statements, and those of its branches: any of them may have run."""
    flat = []
    for statement in body:
        flat.append(statement)
        for part in ('body', 'orelse', 'finalbody', 'handlers'):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                for inner in getattr(statement, part, []):
                    flat.extend(_flat(inner.body if isinstance(inner, ast.ExceptHandler)
                                      else [inner]))
    return flat


def _targets(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _kind(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    for name, kind in (('classmethod', 'class'), ('staticmethod', 'static'),
                       ('property', 'property')):
        if name in names:
            return kind
    return 'property' if any(name.endswith('.setter') for name in names) else 'method'
