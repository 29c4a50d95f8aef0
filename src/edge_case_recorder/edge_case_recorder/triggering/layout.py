"""A message type's fields, from the definition that a bag holds and that is installed (`.msg`).

The text is the .msg, then each dependency after a line of 80 `=` and `MSG: package/Type`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MAX_CHARACTERS = 1_000_000
_FIELD = re.compile(
    r'(?P<type>[A-Za-z][A-Za-z0-9_/]*)(?:<=[0-9]+)?(?P<array>\[(?:<=)?[0-9]{0,9}\])?\s+'
    r'(?P<name>[A-Za-z][A-Za-z0-9_]*)(?P<rest>.*)')
_NUMBERS = frozenset({
    'byte', 'char', 'float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32',
    'int64', 'uint64'})
_KINDS = dict.fromkeys(_NUMBERS, 'number') | {
    'bool': 'bool', 'string': 'text', 'wstring': 'text'}


class LayoutError(ValueError):
    """A path does not fit a type, or a definition cannot be read; the message says why."""


@dataclass(frozen=True)
class FieldType:
    """kind: number, bool, text, or empty for a type of its own; length: of a fixed array,
    or the bound of a bounded one."""

    type: str
    kind: str
    is_array: bool = False
    length: int | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """types: fields by the name of their type, `package/Type`."""

    type: str
    types: Mapping[str, Mapping[str, FieldType]]

    def resolve(self, steps: tuple[str | int, ...], shown: str) -> FieldType:
        """What lies at the end of the path; raises LayoutError."""
        here = FieldType(self.type, '')
        for step in steps:
            if isinstance(step, int):
                here = _element(here, step, shown)
            elif here.is_array:
                raise LayoutError(f'{shown}: {step!r} is asked of an array: name an element, [0]')
            elif here.kind:
                raise LayoutError(f'{shown}: a {here.type} has no field {step!r}')
            else:
                fields = self.types.get(_short(here.type))
                if fields is None:
                    raise LayoutError(f'{shown}: the definition of {here.type} is not there')
                if step not in fields:
                    raise LayoutError(f'{shown}: {here.type} has no field {step!r}; it has '
                                      f'{", ".join(list(fields)[:12])}')
                here = fields[step]
        if here.kind or here.is_array:
            return here
        return FieldType(here.type, '', members=tuple(self.types.get(_short(here.type), ())))


def read_layout(type_name: str, definition: str) -> Layout:
    """type_name: `package/msg/Type`. Raises LayoutError."""
    if len(definition) > _MAX_CHARACTERS:
        raise LayoutError(f'{type_name}: its definition has more than {_MAX_CHARACTERS} '
                          'characters')
    if not definition.strip():
        raise LayoutError(f'the definition of {type_name} is not there, or it has no fields')
    own = _short(type_name)
    types: dict[str, dict[str, FieldType]] = {own: {}}
    current, behind_rule = own, False
    for line in definition.splitlines():
        if line.startswith('=' * 10):
            behind_rule = True
            continue
        if behind_rule and line.startswith('MSG: '):
            current = _short(line[5:].strip())
            types[current] = {}
        behind_rule = False
        match = _FIELD.match(line.strip())
        # A constant has a `=` behind its name; a default has none.
        if match and not match['rest'].lstrip().startswith('='):
            types[current][match['name']] = _field_type(match, current.split('/')[0])
    return Layout(type_name, types)


def _field_type(match: re.Match[str], package: str) -> FieldType:
    name = match['type']
    kind = _KINDS.get(name, '')
    if not kind and '/' not in name:
        name = 'std_msgs/Header' if name == 'Header' else f'{package}/{name}'
    array = match['array']
    if array is None:
        return FieldType(name, kind)
    digits = array.strip('[]<=')
    return FieldType(name, kind, True, int(digits) if digits else None)


def _element(array: FieldType, index: int, shown: str) -> FieldType:
    if not array.is_array:
        raise LayoutError(f'{shown}: [{index}] is asked of what is not an array')
    if array.length is not None and index >= array.length:
        raise LayoutError(f'{shown}: [{index}] is behind the end: there are {array.length} '
                          'elements')
    return FieldType(array.type, array.kind)


def _short(type_name: str) -> str:
    """`package/Type` of `package/msg/Type`."""
    package, _, rest = type_name.partition('/')
    return f'{package}/{rest.removeprefix("msg/")}'
