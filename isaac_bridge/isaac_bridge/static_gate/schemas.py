"""USD attributes that the application writes, against the schemas in the wheels.

Their files are read as text: usd-core and Isaac Sim's own USD cannot live in one Python.
"""

import re
from collections.abc import Mapping
from typing import Any

from .findings import GateError, Report
from .graphs import fits
from .wheels import Wheels

_INSTANCE = '__INSTANCE_NAME__'
_FILE = '**/sensor_checker/generatedSchema.usda'
_CLASS = re.compile(r'^class (?:\w+ )?"(?P<name>\w+)"')
_ATTRIBUTE = re.compile(r'^    (?:uniform )?(?P<type>[a-z][\w\[\]]*) (?P<name>omni:[\w:]+)')
_TOKENS = re.compile(r'^        allowedTokens = \[(?P<tokens>.*)\]')
Attribute = tuple[str, tuple[str, ...]]     # type, allowed tokens


def read_schema(wheels: Wheels, name: str) -> dict[str, Attribute]:
    """Attributes of an API schema of Isaac Sim's sensors. Raises GateError."""
    for path in wheels.files(_FILE):
        attributes: dict[str, Attribute] = {}
        current = latest = ''
        for line in path.read_text().splitlines():
            if match := _CLASS.match(line):
                current = match['name']
            elif current == name and (match := _ATTRIBUTE.match(line)):
                latest = match['name']
                attributes[latest] = (match['type'], ())
            elif current == name and latest and (match := _TOKENS.match(line)):
                tokens = re.findall(r'"([^"]*)"', match['tokens'])
                attributes[latest] = (attributes[latest][0], tuple(tokens))
        if attributes:
            return attributes
    raise GateError(f'no wheel holds the USD schema {name}')


def check_lidar(attributes: Mapping[str, Any], schema: Mapping[str, Attribute],
                emitters: Mapping[str, Attribute], instance: str, report: Report) -> None:
    """attributes: of an OmniLidar prim; emitters: the schema of its emitter states."""
    known = {**schema, **{name.replace(_INSTANCE, instance): kind
                          for name, kind in emitters.items()}}
    for name, value in attributes.items():
        report.count('USD attributes')
        where = f'RTX lidar {name}'
        if name not in known:
            report.fail(where, 'the schema has no such attribute, so it would be left out silently')
            continue
        kind, tokens = known[name]
        if not fits(value, kind):
            report.fail(where, f'is a {kind}, and {value!r} is none')
        elif tokens and value not in tokens:
            report.fail(where, f'is one of {", ".join(tokens)}, not {value!r}')
