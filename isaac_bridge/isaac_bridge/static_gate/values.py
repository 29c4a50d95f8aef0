"""What an expression of the application can stand for, as far as its sources and the wheels say."""

import ast
import dataclasses

from .modules import Class, External, Function, Index, Module, Symbol, Variable

BUILTINS = frozenset({'int', 'float', 'str', 'bool', 'bytes', 'None', 'dict', 'list', 'tuple',
                      'set'})


@dataclasses.dataclass(frozen=True)
class Instance:
    of: Class


@dataclasses.dataclass(frozen=True)
class Bound:
    """A method, and what it is called on; given: whether its first parameter is."""

    function: Function
    receiver: Class
    given: bool


@dataclasses.dataclass(frozen=True)
class ListOf:
    item: 'Value'


@dataclasses.dataclass(frozen=True)
class TupleOf:
    items: tuple['Value', ...]


@dataclasses.dataclass(frozen=True)
class DictOf:
    """The string keys that a function's returned dictionaries have."""

    keys: frozenset[str]
    origin: str


@dataclasses.dataclass(frozen=True)
class Builtin:
    """Python's own: nothing to check."""


@dataclasses.dataclass(frozen=True)
class Unknown:
    """From Isaac Sim, and no source says what."""

    origin: str


Value = Symbol | Instance | Bound | ListOf | TupleOf | DictOf | Builtin | Unknown | None


def result_of(function: Function, receiver: Class | None, index: Index) -> Value:
    """What a call of a function gives, by its annotation and its literals."""
    name = f'{function.module}.{function.node.name}()'
    keys = {key.value for part in ast.walk(function.node)
            if isinstance(part, ast.Return) and isinstance(part.value, ast.Dict)
            for key in part.value.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    if keys:
        return DictOf(frozenset(keys), name)
    if receiver is not None and function.kind == 'class' and function.node.args.kwarg is not None:
        return Instance(receiver)       # an alternative constructor
    found = annotated(function.node.returns, function.module, index)
    return Unknown(name) if found is None else found


def annotated(node: ast.expr | None, module: str, index: Index) -> Value:
    """What a value of an annotated type is; None if that cannot be said."""
    match node:
        case ast.Constant(value=None):
            return Builtin()
        case ast.Constant(value=str(text)):
            return annotated(ast.parse(text, mode='eval').body, module, index)
        case ast.Name(id=name) if name in BUILTINS:
            return Builtin()
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            first = annotated(left, module, index)
            return annotated(right, module, index) if first in (None, Builtin()) else first
        case ast.Subscript(value=owner, slice=inner):
            kind = ast.unparse(owner).rpartition('.')[2].lower()
            if kind == 'tuple' and isinstance(inner, ast.Tuple):
                return TupleOf(tuple(annotated(item, module, index) or Unknown(ast.unparse(item))
                                     for item in inner.elts))
            if kind in ('list', 'sequence'):
                return ListOf(annotated(inner, module, index))
            return Builtin() if kind in ('dict', 'tuple', 'set', 'literal') else None
        case ast.Name() | ast.Attribute():
            return made_of(index.expression(module, node))
    return None


def made_of(symbol: 'Value') -> Value:
    """An instance of what a symbol stands for."""
    if isinstance(symbol, Class):
        return Instance(symbol)
    if isinstance(symbol, External) and not symbol.name.startswith(('typing.', 'numpy.')):
        return External(f'{symbol.name}()')
    return None


def member_of(owner: Value, name: str, index: Index) -> Value:
    """What `owner.name` is; None if there is no such thing in the wheels."""
    match owner:
        case Module(name=module):
            return index.member(module, name)
        case External(name=outer):
            return External(f'{outer}.{name}')
        case Variable(module=module, value=value) if value is not None:
            symbol = index.expression(module, value)
            return member_of(symbol, name, index) if symbol is not None else Unknown(name)
        case Class() | Instance():
            kind = owner if isinstance(owner, Class) else owner.of
            found = index.of_class(kind, name)
            if isinstance(found, Function):
                if found.kind == 'property':
                    return result_of(found, kind, index)
                given = found.kind == 'class' or (
                    found.kind == 'method' and isinstance(owner, Instance))
                return Bound(found, kind, given)
            return found
    return Unknown(f'{owner}.{name}')
