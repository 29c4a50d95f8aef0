"""ROS parameters of a node as one frozen dataclass: declared, documented, validated.

    @dataclass(frozen=True)
    class Parameters:
        rate_hz: float = parameter(50.0, 'how often', minimum=1.0, maximum=500.0)

    parameters = declare(node, Parameters)

After generate_parameter_library's idea: a parameter is written once, with its type, default, text
and rule. Parameters are read-only after start; a node that wants a live one declares it itself.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints


class ParameterError(ValueError):
    """A parameter breaks its rule; the message names it, its value and the rule."""


def parameter(default: Any, text: str, *, minimum: float | None = None,
              maximum: float | None = None, choices: tuple[str, ...] | None = None) -> Any:
    """A dataclass field that is a ROS parameter: a bool, int, float, str, or a tuple of them."""
    return dataclasses.field(default=default, metadata={
        'text': text, 'minimum': minimum, 'maximum': maximum, 'choices': choices})


def build[T](cls: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass from a mapping (a YAML's parameters); raises ParameterError.

    Unknown names are errors: a misspelt parameter must not silently keep its default.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ParameterError(f'parameter {unknown[0]!r} is not one of {cls.__module__}: '
                             f'{", ".join(fields)}')
    hints = get_type_hints(cls)
    checked = {name: _checked(fields[name], hints[name], value) for name, value in values.items()}
    for name, field in fields.items():
        if name not in checked:
            _checked(field, hints[name], field.default)
    return cls(**checked)


def declare[T](node: Any, cls: type[T]) -> T:
    """Declare every field on the node, read what the launch gave, and validate it.

    Raises ParameterError, so that a node refuses to start with one clear sentence.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    hints = get_type_hints(cls)
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        descriptor = ParameterDescriptor(
            description=field.metadata['text'], read_only=True,
            # rclpy cannot tell the type of an empty list, and a launch file's 5 is not a 5.0.
            dynamic_typing=True)
        value = node.declare_parameter(field.name, default, descriptor).value
        if value is None or (_is_tuple(hints[field.name]) and len(value) == 0):
            value = ()
        values[field.name] = tuple(value) if _is_tuple(hints[field.name]) else value
    return build(cls, values)


def document(cls: type[Any]) -> str:
    """A Markdown table of the parameters, for a package's README."""
    rows = ['| parameter | default | what it is | rule |', '|---|---|---|---|']
    for field in dataclasses.fields(cls):
        default = ', '.join(map(str, field.default)) if isinstance(field.default, tuple) \
            else str(field.default)
        rows.append(f'| `{field.name}` | {f"`{default}`" if default else "empty"} | '
                    f'{field.metadata["text"]} | {_rule(field)} |')
    return '\n'.join(rows)


def _is_tuple(hint: Any) -> bool:
    return get_origin(hint) is tuple


def _checked(field: 'dataclasses.Field[Any]', hint: Any, value: Any) -> Any:
    if _is_tuple(hint):
        if not isinstance(value, tuple | list):
            raise ParameterError(f'parameter {field.name} = {value!r}: must be a list')
        return tuple(_checked_one(field, get_args(hint)[0], item) for item in value)
    return _checked_one(field, hint, value)


def _checked_one(field: 'dataclasses.Field[Any]', kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ParameterError(f'parameter {field.name} = {value!r}: must be {kind.__name__}')
    low, high = field.metadata['minimum'], field.metadata['maximum']
    if isinstance(value, int | float) and not isinstance(value, bool) and not (
            math.isfinite(value) and (low is None or value >= low)
            and (high is None or value <= high)):
        raise ParameterError(f'parameter {field.name} = {value!r}: must be {_rule(field)}')
    choices = field.metadata['choices']
    if choices and value not in choices:
        raise ParameterError(f'parameter {field.name} = {value!r}: must be {_rule(field)}')
    return value


def _rule(field: 'dataclasses.Field[Any]') -> str:
    low, high, choices = (field.metadata[key] for key in ('minimum', 'maximum', 'choices'))
    if choices:
        return 'one of ' + ', '.join(map(repr, choices))
    if low is not None and high is not None:
        return f'{low} to {high}'
    if low is not None:
        return f'at least {low}'
    return f'at most {high}' if high is not None else 'finite' if field.type in (
        float, 'float') else ''
