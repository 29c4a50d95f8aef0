"""Walks a source of the application and looks up everything that it uses of Isaac Sim."""

import ast
import importlib
import importlib.util
from pathlib import Path

from . import allow, signatures
from .findings import Report
from .modules import Class, External, Function, Index, Module, Variable
from .values import (
    Bound,
    Builtin,
    DictOf,
    Instance,
    ListOf,
    TupleOf,
    Unknown,
    Value,
    made_of,
    member_of,
    result_of,
)

ROOTS = ('isaacsim', 'omni', 'carb', 'warp', 'pxr', 'usdrt')
Names = dict[str, Value]


def check_source(path: Path, text: str, index: Index, report: Report) -> None:
    """Adds to the report what a source uses that is not there, or not so."""
    tree = ast.parse(text, str(path))
    # Twice: a method may use what a later one assigns to an attribute.
    first = _Walker(path.name, index, Report(), {})
    first.block(tree.body, {})
    _Walker(path.name, index, report, first.attributes).block(tree.body, {})


class _Walker:
    """attributes: of `self`, over all classes of the file, as far as they come from Isaac Sim."""

    def __init__(self, file: str, index: Index, report: Report, attributes: Names) -> None:
        self._file, self._index, self._report = file, index, report
        self.attributes = dict(attributes)

    def _where(self, node: ast.AST) -> str:
        return f'{self._file}:{getattr(node, "lineno", 0)}'

    def block(self, body: list[ast.stmt], names: Names) -> None:
        for statement in body:
            self._statement(statement, names)

    def _statement(self, statement: ast.stmt, names: Names) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self._import(statement, names)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inner = dict(names)
                for argument in (*statement.args.args, *statement.args.kwonlyargs):
                    inner[argument.arg] = self._annotation(argument.annotation, names)
                self.block(statement.body, inner)
            case ast.ClassDef():
                self.block(statement.body, dict(names))
            case ast.Assign(targets=targets, value=value):
                found = self.value(value, names)
                for target in targets:
                    self._bind(target, found, names)
            case ast.AnnAssign(target=target, annotation=annotation, value=given):
                found = self.value(given, names) if given is not None else None
                self._bind(target, self._annotation(annotation, names) or found, names)
            case ast.For(target=target, iter=items, body=body, orelse=other):
                self._bind(target, self._item(items, names), names)
                self.block([*body, *other], names)
            case _:
                for field, part in ast.iter_fields(statement):
                    for child in part if isinstance(part, list) else [part]:
                        self._part(field, child, names)

    def _part(self, field: str, child: object, names: Names) -> None:
        if isinstance(child, ast.stmt):
            self._statement(child, names)
        elif isinstance(child, ast.expr):
            self.value(child, names)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            self.block(child.body, names)
        elif isinstance(child, ast.withitem):
            found = self.value(child.context_expr, names)
            if child.optional_vars is not None:
                self._bind(child.optional_vars, found, names)

    def _import(self, statement: ast.Import | ast.ImportFrom, names: Names) -> None:
        if isinstance(statement, ast.ImportFrom):
            origin = statement.module or ''
            if statement.level or origin.partition('.')[0] not in ROOTS:
                return
            owner = self._module(origin, statement)
            for alias in statement.names:
                found = self._member(owner, alias.name, statement) if owner is not None else None
                names[alias.asname or alias.name] = found
            return
        for alias in statement.names:
            if alias.name.partition('.')[0] in ROOTS:
                found = self._module(alias.name, statement)
                first = alias.name.partition('.')[0]
                names[alias.asname or first] = found if alias.asname else self._index.named(first)

    def _module(self, name: str, node: ast.AST) -> Value:
        self._report.count('modules')
        # An installed Isaac Sim has more sources than the wheels; what is allowed stays allowed.
        if name not in allow.PYTHON and self._index.path(name) is not None:
            return Module(name)
        return self._external(External(name), node)

    def value(self, node: ast.expr | None, names: Names) -> Value:
        """What an expression stands for; every use in it is checked on the way."""
        match node:
            case ast.Name(id=name):
                return names.get(name)
            case ast.Attribute(value=ast.Name(id='self'), attr=name):
                return self.attributes.get(name)
            case ast.Attribute(value=inner, attr=name):
                owner = self.value(inner, names)
                return None if owner is None else self._member(owner, name, node)
            case ast.Call():
                return self._call(node, names)
            case ast.Subscript(value=inner, slice=key):
                self.value(key, names)
                return self._subscript(self.value(inner, names), key, node)
            case ast.IfExp(test=test, body=one, orelse=other):
                self.value(test, names)
                first, second = self.value(one, names), self.value(other, names)
                return second if first is None else first
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp() | ast.DictComp():
                inner_names = dict(names)
                for loop in node.generators:
                    self._bind(loop.target, self._item(loop.iter, inner_names), inner_names)
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.value(child, inner_names)
                return None
        for child in ast.iter_child_nodes(node) if node is not None else ():
            if isinstance(child, ast.expr):
                self.value(child, names)
        return None

    def _member(self, owner: Value, name: str, node: ast.AST) -> Value:
        if isinstance(owner, Builtin):
            return owner
        if isinstance(owner, Unknown | ListOf | TupleOf | DictOf | Bound | Function):
            if isinstance(owner, Unknown):
                self._report.skip(self._where(node), f'{name} of {owner.origin}')
            return None
        full = f'{owner.name}.{name}' if isinstance(owner, Module) else ''
        if full in allow.ALIASES:
            target = allow.ALIASES[full]
            found: Value
            module, _, last = target.rpartition('.')
            found = self._index.member(module, last)
            if self._index.member('isaacsim', name) is None:
                found = None
        else:
            found = member_of(owner, name, self._index)
        self._report.count('names')
        if found is None and isinstance(owner, Module) and full in allow.PYTHON:
            found = External(full)
        if found is None:
            shown = owner.of.name if isinstance(owner, Instance) else getattr(owner, 'name', owner)
            self._report.fail(self._where(node), f'{shown} has no {name}')
            return None
        return self._external(found, node) if isinstance(found, External) else found

    def _external(self, found: External, node: ast.AST) -> Value:
        """What lies outside of the wheels: USD is really here, all else has to be allowed."""
        if found.name.partition('.')[0] == 'pxr':
            if importlib.util.find_spec('pxr') is None:
                self._report.skip(self._where(node), f'{found.name}: no usd-core is here')
                return Unknown(found.name)
            self._report.count('USD names')
            if not _in_usd(found.name):
                self._report.fail(self._where(node), f'usd-core has no {found.name}')
                return None
        else:
            self._report.count('allowed names')
            if found.name not in allow.PYTHON:
                self._report.fail(self._where(node), f'{found.name} is in no wheel, and not on the '
                                  'list of what is allowed without')
                return None
        return found

    def _call(self, node: ast.Call, names: Names) -> Value:
        callee = self.value(node.func, names)
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.value(part, names)
        match callee:
            case Function():
                self._arguments(node, callee, None, False)
                return result_of(callee, None, self._index)
            case Bound(function=function, receiver=receiver, given=given):
                self._arguments(node, function, receiver, given)
                return result_of(function, receiver, self._index)
            case Class():
                made = self._index.of_class(callee, '__init__')
                if isinstance(made, Function):
                    self._arguments(node, made, callee, True)
                return Instance(callee)
            case External(name=name):
                return Unknown(f'{name}()') if name.startswith('pxr.') else made_of(callee)
            case Variable() | Module() | Instance():
                self._report.fail(self._where(node), f'{ast.unparse(node.func)} cannot be called')
        return None

    def _arguments(self, node: ast.Call, function: Function, receiver: Class | None,
                   bound: bool) -> None:
        self._report.count('calls')
        self._report.count('arguments', len(node.args) + len(node.keywords))
        for problem in (*signatures.problems(node, function, self._index, receiver, bound),
                        *signatures.literals(node, function, self._index, bound)):
            self._report.fail(self._where(node), f'{ast.unparse(node.func)}: {problem}')

    def _subscript(self, owner: Value, key: ast.expr, node: ast.AST) -> Value:
        match owner, key:
            case DictOf(keys=keys, origin=origin), ast.Constant(value=str(name)):
                self._report.count('dictionary keys')
                if name not in keys:
                    self._report.fail(self._where(node), f'{origin} gives {", ".join(sorted(keys))}'
                                      f', not {name!r}')
                return Builtin()
            case TupleOf(items=items), ast.Constant(value=int(i)) if i < len(items):
                return items[i]
            case ListOf(item=item), ast.Slice():
                return owner
            case ListOf(item=item), _:
                return item
        return None

    def _bind(self, target: ast.expr, found: Value, names: Names) -> None:
        match target:
            case ast.Name(id=name):
                names[name] = found
            case ast.Attribute(value=ast.Name(id='self'), attr=name):
                if found is not None or name not in self.attributes:
                    self.attributes[name] = found
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = found.items if isinstance(found, TupleOf) else ()
                for i, part in enumerate(parts):
                    self._bind(part, items[i] if i < len(items) else None, names)

    def _item(self, node: ast.expr, names: Names) -> Value:
        """What one turn of a loop over an expression gives."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            items = [self._item(argument, names) for argument in node.args]
            if node.func.id == 'zip':
                return TupleOf(tuple(items))
            if node.func.id == 'enumerate':
                return TupleOf((Builtin(), *items))
        found = self.value(node, names)
        return found.item if isinstance(found, ListOf) else None

    def _annotation(self, node: ast.expr | None, names: Names) -> Value:
        """What an annotation of the application says, if that is of Isaac Sim."""
        match node:
            case ast.Constant(value=str(text)):
                return self._annotation(ast.parse(text, mode='eval').body, names)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._annotation(left, names) or self._annotation(right, names)
            case ast.Subscript(value=ast.Name(id='list' | 'Sequence'), slice=inner):
                item = self._annotation(inner, names)
                return None if item is None else ListOf(item)
            case ast.Name(id=name) if isinstance(names.get(name), Class | External):
                return made_of(names[name])
        return None


def _in_usd(name: str) -> bool:
    """Whether a dotted name, () for an instance of a class, is in the installed usd-core."""
    parts = name.replace('()', '').split('.')
    try:
        found = importlib.import_module('.'.join(parts[:2]) if len(parts) > 1 else parts[0])
    except ImportError:
        return False
    for part in parts[2:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True
