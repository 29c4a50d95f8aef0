"""What a rule takes out of one message: a field, or what a function makes of an array.

A reading is made by name when the rule is compiled, and bound to a type's layout when that is
known; only then can it read, and only fields that the definition declares.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from edge_case_recorder.triggering import limits
from edge_case_recorder.triggering.layout import FieldType, Layout, LayoutError
from edge_case_recorder.triggering.tree import Path, Span, path_text

DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'
JOINT_STATE = 'sensor_msgs/msg/JointState'
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    '<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge,
    '==': operator.eq, '!=': operator.ne}
# As a status writes numbers and flags; Python's float() takes more (1_0, ' 1 ', nan).
_NUMBER = re.compile(
    r'[+-]?([0-9]{1,32}(\.[0-9]{0,32})?|\.[0-9]{1,32})([eE][+-]?[0-9]{1,3})?')
_FLAGS = {'true': True, 'false': False, 'True': True, 'False': False, 'yes': True, 'no': False,
          '1': True, '0': False}

type Value = float | bool | str | None
type Reader = Callable[[Any], Value]


class Kind(StrEnum):
    """What a value is. ANY: a field of whatever kind it has, where nothing asks for one."""

    NUMBER = 'number'
    BOOL = 'bool'
    TEXT = 'text'
    DURATION = 'duration'
    FREQUENCY = 'frequency'
    ANY = 'value'


@dataclass(frozen=True)
class Reading:
    """function: '', or one of ARRAY_FUNCTIONS; `count` counts what `comparison limit` holds for."""

    path: Path
    kind: Kind
    function: str = ''
    comparison: str = ''
    limit: float = 0.0

    @property
    def elements(self) -> int:
        """How many elements it looks at, at most."""
        span = self.path.steps[-1] if self.path.steps else None
        if not self.function or self.function == 'length':
            return 0
        if isinstance(span, Span) and span.last >= 0:
            return min(span.last - span.first, limits.MAX_ELEMENTS)
        return limits.MAX_ELEMENTS


ARRAY_FUNCTIONS = ('min', 'max', 'mean', 'count', 'length')


def bind(reading: Reading, layout: Layout) -> Reader:
    """A function from a message of this type to the value, None where it has none.

    Raises LayoutError when the type has no such field, or one of another kind.
    """
    steps = reading.path.steps
    names = [step for step in steps if isinstance(step, str)]
    if layout.type == DIAGNOSTICS:
        if reading.function or len(names) != 2 or len(steps) != 2:
            raise LayoutError(f'{reading.path.topic} is a DiagnosticArray: name a status and one '
                              'of its values, level or message')
        return _diagnostic(names[0], names[1], reading.kind)
    if layout.type == JOINT_STATE and len(names) == 2 and len(steps) == 2 and \
            names[0] in ('position', 'velocity', 'effort') and not reading.function:
        _must_be(reading.kind, Kind.NUMBER, reading.path)
        return _joint(names[0], names[1])
    span = steps[-1] if isinstance(steps[-1], Span) else None
    plain = tuple(step for step in steps if not isinstance(step, Span))
    found = layout.resolve(plain, path_text(Path(reading.path.topic, plain)))
    walk = _walker(plain)
    if reading.function:
        return _array_reader(reading, found, walk, span or Span())
    if found.is_array:
        raise LayoutError(f'{path_text(reading.path)} is an array: name an element, [0], or '
                          f'use {", ".join(ARRAY_FUNCTIONS)}')
    if not found.kind:
        raise LayoutError(f'{path_text(reading.path)} is a {found.type}: name one of its fields: '
                          f'{", ".join(found.members[:12])}')
    _must_be(reading.kind, Kind(found.kind), reading.path)
    convert = {'number': _number, 'bool': _flag, 'text': _text}[found.kind]
    return lambda message: convert(walk(message))


def _must_be(wanted: Kind, found: Kind, path: Path) -> None:
    if wanted not in (found, Kind.ANY):
        raise LayoutError(f'{path_text(path)} is a {found}, and is used as a {wanted}')


def _array_reader(reading: Reading, found: FieldType, walk: Callable[[Any], Any],
                  span: Span) -> Reader:
    name = path_text(reading.path)
    if not found.is_array:
        raise LayoutError(f'{name} is not an array: {reading.function} has nothing to go through')
    if found.length is not None and span.first >= found.length:
        raise LayoutError(f'{name} begins behind the end: it has {found.length} elements')
    if reading.function == 'length':
        return lambda message: _length(walk(message), span)
    if found.kind != 'number':
        raise LayoutError(f'{name} is not an array of numbers')
    return lambda message: _over(reading, _elements(walk(message), span))


def _walker(steps: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Steps that the layout has checked; an index that a message does not reach gives None."""
    def walk(message: Any) -> Any:
        for step in steps:
            if isinstance(step, int):
                if step >= len(message):
                    return None
                message = message[step]
            else:
                message = getattr(message, step)
        return message
    return walk


def _diagnostic(status_name: str, key: str, kind: Kind) -> Reader:
    def read(message: Any) -> Value:
        for status in message.status[:limits.MAX_STATUSES]:
            if status.name != status_name:
                continue
            if key == 'level' and kind in (Kind.NUMBER, Kind.ANY):
                return _number(status.level)
            if key == 'message' and kind in (Kind.TEXT, Kind.ANY):
                return _text(status.message)
            for pair in status.values[:limits.MAX_VALUES]:
                if pair.key == key:
                    return _parsed(pair.value, kind)
        return None
    return read


def _parsed(value: str, kind: Kind) -> Value:
    """A status's value is a text; a text that is no number is unknown where one is asked for."""
    if kind == Kind.NUMBER:
        return float(value) if len(value) < 80 and _NUMBER.fullmatch(value) else None
    if kind == Kind.BOOL:
        return _FLAGS.get(value)
    return _text(value)


def _joint(what: str, joint: str) -> Reader:
    def read(message: Any) -> Value:
        values = getattr(message, what)
        for name, value in zip(message.name[:limits.MAX_VALUES], values, strict=False):
            if name == joint:
                return float(value)
        return None
    return read


def _number(value: Any) -> Value:
    if isinstance(value, bytes):   # rclpy's `byte` is a bytes of one
        return float(value[0]) if value else None
    return float(value) if value is not None else None


def _flag(value: Any) -> Value:
    return bool(value) if value is not None else None


def _text(value: Any) -> Value:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError('not a text, as its type says')
    return value[:limits.MAX_TEXT]


def _length(array: Any, span: Span) -> Value:
    if array is None:
        return None
    last = len(array) if span.last < 0 else min(span.last, len(array))
    return float(max(last - span.first, 0))


def _elements(array: Any, span: Span) -> Any:
    """The part as float64, or None where there is none, or more than a rule may look at."""
    if array is None:
        return None
    last = len(array) if span.last < 0 else min(span.last, len(array))
    if last - span.first > limits.MAX_ELEMENTS:
        return None
    part = array[span.first:last]
    if isinstance(part, list) and part and isinstance(part[0], bytes):
        part = [each[0] for each in part]
    elif isinstance(part, bytes):
        part = list(part)
    return np.asarray(part, dtype=np.float64)


def _over(reading: Reading, elements: Any) -> Value:
    """NaN is no measurement and is left out; infinity (REP-117: nothing in range) is not."""
    if elements is None:
        return None
    if reading.function == 'count':
        return float(np.count_nonzero(COMPARISONS[reading.comparison](elements, reading.limit)
                                      & ~np.isnan(elements)))
    measured = elements[~np.isnan(elements)]
    if measured.size == 0:
        return None
    with np.errstate(all='ignore'):
        value = float(getattr(measured, reading.function)())
    return None if math.isnan(value) else value
