"""A target profile: YAML in, a checked and complete description of processes out. No ROS here.

`config/targets/<name>.yaml` may extend another; mappings merge, null removes. Strings may hold
`$(var name)` for a launch argument and `$(config path)` for a file under config/. Everything that
can be known before a process starts is checked here, and is one sentence when it is wrong.
"""

import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from node_kit import ParameterError, build

MAX_FILE_BYTES = 1_000_000
_SUBSTITUTION = re.compile(r'\$\((var|config|share) ([^()]+)\)')


class TargetError(ValueError):
    """A profile cannot be used; the message names the file, the place and the rule."""


@dataclass(frozen=True)
class Argument:
    default: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One node: a process of its own (`executable`), or a component of `container`."""

    name: str
    package: str
    executable: str | None
    plugin: str | None
    container: str | None
    lifecycle: bool
    respawn: bool
    ros: bool
    arguments: tuple[str, ...]
    remappings: tuple[tuple[str, str], ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """What runs. Containers keep the order of the file; nodes too."""

    name: str
    environment: Mapping[str, str]
    containers: Mapping[str, str] = field(default_factory=dict)   # name -> executor
    nodes: tuple[NodeSpec, ...] = ()

    def of_container(self, container: str) -> list[NodeSpec]:
        return [node for node in self.nodes if node.container == container]


class Profile:
    """The merged YAML of one target, before launch arguments are known."""

    def __init__(self, config: Path, name: str) -> None:
        self._config, self.name = config, name
        self._schema = json.loads((config / 'schemas' / 'target.schema.json').read_text())
        self._content = self._merged(name, ())

    @property
    def arguments(self) -> dict[str, Argument]:
        return {name: Argument(a['default'], a['text'], tuple(a.get('choices', ())))
                for name, a in self._content.get('arguments', {}).items()}

    def resolve(self, values: Mapping[str, str]) -> Target:
        """The target for these launch arguments (missing ones take their default)."""
        known = self.arguments
        for name, value in values.items():
            if name not in known:
                raise TargetError(f'{self.name}: there is no launch argument {name!r}; there are: '
                                  f'{", ".join(known)}')
            if known[name].choices and value not in known[name].choices:
                raise TargetError(f'{self.name}: {name}:={value} is not one of '
                                  f'{", ".join(known[name].choices)}')
        values = {name: argument.default for name, argument in known.items()} | dict(values)
        content = self._substituted(self._content, values)
        containers = {name: (spec or {}).get('executor', 'events')
                      for name, spec in content.get('containers', {}).items() if spec is not None}
        nodes = tuple(
            self._node(name, spec) for name, spec in content.get('nodes', {}).items()
            if spec is not None and all(values.get(key) == wanted
                                        for key, wanted in spec.get('when', {}).items()))
        for node in nodes:
            if node.container is not None and node.container not in containers:
                raise TargetError(f'{self.name}: nodes.{node.name}.container: there is no '
                                  f'container {node.container!r}')
        used = {node.container for node in nodes}
        return Target(self.name, content.get('environment', {}),
                      {c: executor for c, executor in containers.items() if c in used}, nodes)

    def _merged(self, name: str, below: tuple[str, ...]) -> dict[str, Any]:
        path = self._config / 'targets' / f'{name}.yaml'
        if name in below:
            raise TargetError(f'{path}: extends itself through {" -> ".join((*below, name))}')
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise TargetError(f'{path}: larger than {MAX_FILE_BYTES} bytes')
            content = yaml.safe_load(path.read_text())
        except FileNotFoundError:
            there = sorted(p.stem for p in path.parent.glob('*.yaml'))
            raise TargetError(f'there is no target {name!r} in {path.parent}; there are: '
                              f'{", ".join(there)}') from None
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise TargetError(f'{path}: cannot be read: {" ".join(str(error).split())}') from error
        try:
            jsonschema.validate(content, self._schema)
        except jsonschema.ValidationError as error:
            where = '.'.join(map(str, error.absolute_path)) or 'the file'
            raise TargetError(f'{path}: {where}: {error.message}') from None
        base = content.pop('extends', None)
        return _merge(self._merged(base, (*below, name)), content) if base else content

    def _node(self, name: str, spec: Mapping[str, Any]) -> NodeSpec:
        where = f'{self.name}: nodes.{name}'
        if 'package' not in spec:
            raise TargetError(f'{where}: package is missing')
        if ('executable' in spec) == ('plugin' in spec):
            raise TargetError(f'{where}: needs either an executable or a plugin')
        if ('plugin' in spec) != ('container' in spec):
            raise TargetError(f'{where}: a plugin needs a container, and only a plugin has one')
        node = NodeSpec(
            name, spec['package'], spec.get('executable'), spec.get('plugin'),
            spec.get('container'), spec.get('lifecycle', False), spec.get('respawn', False),
            spec.get('ros', True), tuple(spec.get('arguments', ())),
            tuple(spec.get('remappings', {}).items()), spec.get('parameters', {}))
        self._check_parameters(where, node)
        return node

    def _check_parameters(self, where: str, node: NodeSpec) -> None:
        """A node of ours offers its parameter class; then names, types and rules are checked."""
        offered = importlib.metadata.entry_points(
            group='node_parameters', name=f'{node.package}.{node.plugin or node.executable}')
        if not offered:
            return
        plain = {key: value for key, value in node.parameters.items() if key != 'use_sim_time'}
        try:
            build(next(iter(offered)).load(), plain)
        except ParameterError as error:
            raise TargetError(f'{where}: {error}') from None
        for key, value in plain.items():
            if key.endswith('_file') and value and not Path(str(value)).is_file():
                raise TargetError(f'{where}: parameter {key}: there is no file {value}')

    def _substituted(self, value: Any, values: Mapping[str, str]) -> Any:
        if isinstance(value, dict):
            return {key: self._substituted(item, values) for key, item in value.items()}
        if isinstance(value, list):
            return [self._substituted(item, values) for item in value]
        if not isinstance(value, str):
            return value
        whole, text = _SUBSTITUTION.fullmatch(value), value
        while (replaced := _SUBSTITUTION.sub(lambda m: self._replace(m, values), text)) != text:
            text = replaced  # from the inside out: $(config scenarios/$(var scenario))
        return _typed(text) if whole and whole[1] == 'var' else text

    def _replace(self, match: 're.Match[str]', values: Mapping[str, str]) -> str:
        kind, name = match[1], match[2].strip()
        if kind == 'config':
            return str(self._config / name)
        if kind == 'share':
            return str(self._config.parent / name)
        if name not in values:
            raise TargetError(f'{self.name}: $(var {name}) is not a launch argument')
        return values[name]


def _typed(text: str) -> Any:
    """`seed: $(var seed)` is a number; YAML's `off` and `no` stay words."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return {'true': True, 'false': False}.get(text, text)


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _merge(base.get(key), value) for key, value in over.items()}
    return over
