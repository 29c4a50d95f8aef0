"""Which components are installed, and the class behind a name.

A package offers its nodes as entry points of the group `rclpy_components` in its setup.py:

    entry_points={'rclpy_components': ['Talker = demo_nodes.talker:Talker']}

Nothing is cached: a package that is installed while the container runs can be loaded.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from component_container.faults import explain

GROUP = 'rclpy_components'


class PluginError(Exception):
    """A component cannot be had; the message says which plugin, which package and why."""


@dataclass(frozen=True, order=True)
class Plugin:
    """An installed component: `name` in `package`, which is the class `value` (module:Class)."""

    package: str
    name: str
    value: str

    def __str__(self) -> str:
        return f"plugin '{self.name}' of package '{self.package}'"

    @property
    def module(self) -> str:
        return self.value.partition(':')[0].strip()

    @property
    def attribute(self) -> str:
        return self.value.partition(':')[2].strip()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to ask for it, the closest first."""
        prefix = self.package + '::'
        name = self.name.removeprefix(prefix)
        return (self.name, name, prefix + name, self.attribute, prefix + self.attribute,
                f'{self.module}.{self.attribute}', f'{self.module}:{self.attribute}')


def installed() -> list[Plugin]:
    """The components of every installed distribution on sys.path, sorted.

    A package is a distribution; where a distribution was named otherwise than the ROS package
    (PyPI likes dashes), the package's name is the top-level module's.
    """
    importlib.invalidate_caches()
    plugins = set()
    for entry in metadata.entry_points(group=GROUP):
        module = entry.value.partition('.')[0].partition(':')[0].strip()
        distribution = entry.dist.name if entry.dist is not None else module
        same = _normal(distribution) == _normal(module)
        plugins.add(Plugin(module if same else distribution, entry.name, entry.value))
    return sorted(plugins)


def find(plugins: Iterable[Plugin], package: str, name: str) -> Plugin:
    """The plugin that a request's package_name and plugin_name mean; raises PluginError.

    `name` may be `Class`, `package::Class` or `package.module.Class`.
    """
    plugins = list(plugins)
    if not package and '::' in name:
        package = name.partition('::')[0]
    if not package or not name:
        raise PluginError('a request needs a package_name and a plugin_name, and got '
                          f"package_name '{package}', plugin_name '{name}'")
    offered = [plugin for plugin in plugins if _normal(package) in (
        _normal(plugin.package), _normal(plugin.module.partition('.')[0]))]
    if not offered:
        others = ', '.join(sorted({plugin.package for plugin in plugins})) or 'none'
        why = (f"offers no components (entry points of the group '{GROUP}')"
               if _is_installed(package) else 'is not installed')
        raise PluginError(f"package '{package}' {why}, so there is no plugin '{name}'; "
                          f'packages with components: {others}')
    for rank in range(len(offered[0].spellings)):
        for plugin in offered:
            if plugin.spellings[rank] == name:
                return plugin
    raise PluginError(f"package '{package}' does not offer the plugin '{name}'; it offers: "
                      + ', '.join(plugin.name for plugin in offered))


def load(plugin: Plugin, base: type) -> type:
    """Import the plugin's class; raises PluginError where that fails or it is no `base`."""
    try:
        found: Any = importlib.import_module(plugin.module)
        for part in plugin.attribute.split('.'):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise PluginError(f'{plugin} cannot be imported from {plugin.value}: '
                          f'{explain(error)}') from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(f'{plugin} is not a node: {plugin.value} is '
                          f'{_kind(found)}, not a subclass of rclpy.node.Node')
    return found


def check_constructor(plugin: Plugin, cls: type, kwargs: Mapping[str, Any]) -> None:
    """Raises PluginError where the constructor cannot take what a container hands over."""
    try:
        inspect.signature(cls).bind(**kwargs)
    except TypeError as error:
        raise PluginError(
            f'{plugin} cannot be composed: {cls.__name__}.__init__ must take **kwargs and hand '
            f'them to Node ({error})') from None


def _kind(found: Any) -> str:
    return f'the class {found.__qualname__}' if isinstance(found, type) else \
        f'of type {type(found).__name__}'


def _normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r'[-_.]+', '-', name).lower()


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True
