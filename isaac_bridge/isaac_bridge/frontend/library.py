"""What can be loaded and spawned, and the places that have a name. Pure but for reading files."""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from ..entities import Bounds, Pose, Resource
from ..robot import Robot
from ..scenario import (
    PERSON_HEIGHT_M,
    PERSON_RADIUS_M,
    Scenario,
    ScenarioError,
    parse_scenario,
    read_scenario,
)

FORMAT = 'primitive'
MAX_STRING = 1_000_000
MAX_RESOURCE = 4096
MAX_WORLDS = 200
MAX_SOURCES = 16
SUFFIXES = ('.yaml', '.yml')
_NAMESPACE = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')


class UnsupportedFormat(ValueError):
    """It may be right, but is no format of this simulator; the message says which are."""


class ParseError(ValueError):
    """It is of a known format and breaks its rules."""


@dataclasses.dataclass(frozen=True)
class WorldFile:
    name: str
    uri: str
    description: str
    tags: tuple[str, ...]
    text: str = ''          # what it was loaded from, if that was no file


@dataclasses.dataclass(frozen=True)
class Place:
    name: str
    description: str
    tags: tuple[str, ...]
    pose: Pose
    bounds: Bounds


def local_path(uri: str) -> Path:
    """Of a file:// URI or a bare path. Raises UnsupportedFormat."""
    if len(uri) > 4096 or '\0' in uri:
        raise UnsupportedFormat('the uri is longer than 4096 characters, or has a zero in it')
    try:
        parts = urlsplit(uri)
    except ValueError as problem:
        raise UnsupportedFormat(f'the uri is none: {problem}') from problem
    if parts.scheme == '':
        return Path(uri)
    if parts.scheme != 'file' or parts.netloc not in ('', 'localhost'):
        raise UnsupportedFormat(f'{uri[:200]} is not a path or a file:// of this machine')
    return Path(unquote(parts.path))


def describe(scenario: Scenario, uri: str, text: str = '') -> WorldFile:
    count = len(scenario.people)
    people = f'{count} people' if count > 1 else 'one person' if count else 'nobody'
    tags = ('warehouse', 'people' if count else 'nobody',
            *(('obstacles',) if scenario.aisle.obstacles else ()))
    return WorldFile(scenario.name, uri, f'a warehouse aisle with {people}: '
                     f'{scenario.task.instruction}', tags, text)


def worlds_in(folder: Path) -> list[WorldFile]:
    """The scenarios among its YAML files, by name; what is none is left out. Raises OSError."""
    found = []
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    for path in paths[:MAX_WORLDS]:
        try:
            found.append(describe(read_scenario(path), path.resolve().as_uri()))
        except ScenarioError:
            continue
    return found


def load_uri(uri: str) -> tuple[Scenario, WorldFile]:
    """Raises FileNotFoundError, UnsupportedFormat or ParseError."""
    path = local_path(uri)
    if path.suffix not in SUFFIXES:
        raise UnsupportedFormat(f'{uri[:200]}: worlds are scenario files, .yaml')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: there is no such file')
    try:
        scenario = read_scenario(path)
    except ScenarioError as problem:
        raise ParseError(str(problem)) from problem
    return scenario, describe(scenario, path.resolve().as_uri())


def load_string(text: str) -> tuple[Scenario, WorldFile]:
    """Raises ParseError."""
    if len(text) > MAX_STRING:
        raise ParseError(f'the resource string is longer than {MAX_STRING} characters')
    try:
        scenario = parse_scenario(yaml.safe_load(text), 'the resource string')
    except (yaml.YAMLError, RecursionError) as problem:
        raise ParseError('the resource string is not YAML: '
                         f'{" ".join(str(problem).split())[:200]}') from problem
    except ScenarioError as problem:
        raise ParseError(str(problem)) from problem
    return scenario, describe(scenario, '', text)


def resource_of(uri: str, text: str, known: Sequence[Resource]) -> tuple[Resource, str]:
    """What to spawn, and its name if the text gives one.

    `box`, `primitive:box?size_m=0.6,0.4,0.4`, or as text {"kind": "box", "size_m": [..]}. Raises
    UnsupportedFormat or ParseError.
    """
    if len(uri) > MAX_RESOURCE or len(text) > MAX_RESOURCE:
        raise ParseError(f'the resource is longer than {MAX_RESOURCE} characters')
    name = ''
    if uri:
        kind, size = _from_uri(uri)
    else:
        kind, size, name = _from_text(text)
    by_kind = {resource.kind: resource for resource in known}
    if kind not in by_kind:
        raise UnsupportedFormat(f'{kind[:200]!r} is not one of: {", ".join(by_kind)}')
    return by_kind[kind] if size is None else Resource(kind, size), name


def uri_of(resource: Resource) -> str:
    return f'{FORMAT}:{resource.kind}?size_m=' + ','.join(f'{size:g}' for size in resource.size_m)


def _from_uri(uri: str) -> tuple[str, tuple[float, float, float] | None]:
    try:
        parts = urlsplit(uri)
        query = parse_qs(parts.query, strict_parsing=bool(parts.query), max_num_fields=1)
    except ValueError as problem:
        raise ParseError(f'{uri[:200]}: {problem}') from problem
    if parts.scheme not in ('', FORMAT) or parts.netloc:
        raise UnsupportedFormat(f'{uri[:200]} is not {FORMAT}:<kind>?size_m=<x>,<y>,<z>')
    if set(query) - {'size_m'}:
        raise ParseError(f'{uri[:200]}: only size_m can be said')
    if not query:
        return parts.path, None
    return parts.path, _size(query['size_m'][0].split(','), uri)


def _from_text(text: str) -> tuple[str, tuple[float, float, float] | None, str]:
    if not text.lstrip().startswith('{'):
        raise UnsupportedFormat('the resource string is not JSON: {"kind": "box", "size_m": [..]}')
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ParseError(f'the resource string is not JSON: {problem}') from problem
    if set(document) - {'kind', 'size_m', 'name'} or not all(
            isinstance(document.get(key, ''), str) for key in ('kind', 'name')):
        raise ParseError('the resource string has other keys than kind, size_m and name, or a '
                         'kind or name that is no text')
    size = document.get('size_m')
    if size is not None and not isinstance(size, list):
        raise ParseError('size_m in the resource string is not three numbers')
    return (document.get('kind', ''), None if size is None else _size(size, 'size_m'),
            document.get('name', ''))


def _size(values: Sequence[object], where: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(value) for value in values)    # type: ignore[arg-type]
    except (TypeError, ValueError) as problem:
        raise ParseError(f'{where[:200]}: size_m is not three numbers') from problem
    if not all(map(math.isfinite, (x, y, z))):
        raise ParseError(f'{where[:200]}: size_m is not finite')
    return x, y, z


def places(scenario: Scenario, robot: Robot) -> tuple[Place, ...]:
    """The robot's start, its goal, and where each person of the scenario begins."""
    xs, ys = zip(*robot.outline, strict=True)
    around = Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), robot.height_m))
    radius = PERSON_RADIUS_M
    body = Bounds((-radius, -radius, 0.0), (radius, radius, PERSON_HEIGHT_M))
    return (
        Place('start', 'where the robot begins', ('spawn', robot.name),
              Pose.flat(*scenario.start), around),
        Place('goal', 'where its task ends', ('navigation_goal', robot.name),
              Pose.flat(*scenario.goal), around),
        *(Place(f'person_{i}', f'where {person.name} begins', ('spawn', 'person'),
                Pose.flat(*person.start), body)
          for i, person in enumerate(scenario.people)))


def check_namespace(namespace: str) -> str:
    """Without slashes at its ends; raises ValueError."""
    if namespace and (len(namespace) > 200 or not _NAMESPACE.fullmatch(namespace)):
        raise ValueError(f'{namespace[:200]!r} is not a ROS namespace')
    return namespace.strip('/')
