"""What is loaded: unique ids, names, and who is busy with what."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from component_container.arguments import NodeArguments
from component_container.plugins import Plugin

if TYPE_CHECKING:
    from component_container.component import Component


class ContainerError(Exception):
    """A request cannot be served now; the message says why."""


class Registry:
    """The components of a container, the oldest first.

    Written on the executor's thread, by a load, and on the container's, by an unload; read on both.
    Ids begin at 1 and are never used again.
    """

    def __init__(self, container: str) -> None:
        self._container = container
        self._components: dict[int, Component] = {}
        self._ids = itertools.count(1)
        self._default_names: dict[Plugin, tuple[str | None, str]] = {}

    def __iter__(self) -> Iterator['Component']:
        return iter(list(self._components.values()))

    def __len__(self) -> int:
        return len(self._components)

    def __contains__(self, component: 'Component') -> bool:
        return component.unique_id in self._components

    def next_id(self) -> int:
        return next(self._ids)

    def add(self, component: 'Component', arguments: NodeArguments) -> None:
        """`arguments` are what it was loaded with: what they left open is its class's default."""
        self._components[component.unique_id] = component
        namespace, _, name = component.name.rpartition('/')
        default_name, default_namespace = self._default_names.get(component.plugin, (None, '/'))
        self._default_names[component.plugin] = (
            name if arguments.name is None else default_name,
            namespace or '/' if arguments.namespace is None else default_namespace)

    def remove(self, component: 'Component') -> None:
        del self._components[component.unique_id]

    def get(self, unique_id: int) -> 'Component':
        """Raises ContainerError where no node has that id."""
        if unique_id not in self._components:
            loaded = ', '.join(f"{component.unique_id} '{component.name}'" for component in self)
            raise ContainerError(f'no node has the unique id {unique_id}; '
                                 + (f'loaded are {loaded}' if loaded else 'nothing is loaded'))
        return self._components[unique_id]

    def check_free(self, name: str | None) -> None:
        """Raises ContainerError where a full name is taken."""
        if name in {component.name for component in self} | {self._container}:
            raise ContainerError(f"a node named '{name}' is already in this container; "
                                 'give the new one another node_name or node_namespace')

    def expected_name(self, plugin: Plugin, arguments: NodeArguments) -> str | None:
        """The full name that a node will come up with, or None where only its class knows yet.

        To build a namesake, even for a moment, would cost the first node its connection to rosout.
        """
        name, namespace = self._default_names.get(plugin, (None, '/'))
        name, namespace = arguments.name or name, arguments.namespace or namespace
        return f'{namespace.rstrip("/")}/{name}' if name is not None else None

    def busy(self, now_ns: int, only: 'Component | None' = None) -> str:
        """What has not returned for longest, of all nodes or of one, as a clause."""
        components = list(self) if only is None else [only]
        inside = [(*longest[::-1], component.name) for component in components
                  if (longest := component.gate.longest()) is not None]
        if not inside:
            return 'a constructor or destructor is running'
        since_ns, what, name = min(inside)
        return f"node '{name}' has been in {what} for {(now_ns - since_ns) / 1e9:.1f} s"
