"""The rules' topics under their full names: what has to be decoded, and messages on to the rules.

A rule writes `scan`; on the wire that is `/r1/scan`, after namespaces and remappings.
"""

from collections.abc import Callable, Mapping
from typing import Any

from edge_case_recorder.triggering import RuleError
from edge_case_recorder.triggers import LaterReasons, Trigger, Triggers


class RuleTopics:
    """resolve: a name as a rule writes it to the full one; it may raise what it likes."""

    def __init__(self, triggers: Triggers, resolve: Callable[[str], str]) -> None:
        self._triggers = triggers
        self._written: dict[str, list[str]] = {}
        needed = triggers.needed
        for topic in needed:
            self._written.setdefault(resolve(topic), []).append(topic)
        self.decoded = frozenset(full for full, written in self._written.items()
                                 if any(needed[topic] for topic in written))
        self._types: dict[str, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """Full names of all topics that rules need."""
        return frozenset(self._written)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Topics, as the rules write them, that have not been bound to a type."""
        return tuple(topic for full, written in self._written.items() if full not in self._types
                     for topic in written)

    def bind(self, full: str, type_name: str, definition: str) -> Mapping[str, RuleError]:
        """The type of a topic; returns the rules that do not fit it, and why."""
        self._types[full] = type_name
        found: dict[str, RuleError] = {}
        for topic in self._written.get(full, ()):
            found |= self._triggers.bind(topic, type_name, definition)
        return found

    def on_message(self, full: str, message: Any, now_ns: int) -> list[Trigger | LaterReasons]:
        """message: decoded if the topic is in `decoded`, else None."""
        return [each for topic in self._written.get(full, ())
                for each in self._triggers.on_message(topic, message, now_ns)]
