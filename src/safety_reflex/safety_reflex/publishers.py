"""Who publishes a protected topic: told apart by GID, not by how many there are."""

from collections.abc import Iterable

from safety_reflex.reasons import Reason

Gid = bytes
# A GID begins with its participant's prefix: what shares it comes from one process.
PREFIX_BYTES = 12


class Publishers:
    """The publishers seen on each protected topic.

    An output is ours alone. An input belongs to whoever published it first; somebody else in that
    place is a reason once, and the latch that it causes waits for an operator.
    """

    def __init__(self, own_prefix: bytes) -> None:
        self._own_prefix = own_prefix
        self._known: dict[str, Gid] = {}
        self._wrong: dict[str, Reason] = {}
        self._told: set[str] = set()

    def output(self, topic: str, gids: Iterable[Gid]) -> None:
        foreign = [gid for gid in gids if gid[:PREFIX_BYTES] != self._own_prefix]
        self._note(topic, Reason.SECOND_PUBLISHER if foreign else None)

    def input(self, topic: str, gids: Iterable[Gid]) -> None:
        found = set(gids)
        if len(found) > 1:
            self._note(topic, Reason.SECOND_PUBLISHER)
        elif not found:
            self._note(topic, None)  # nobody at all: the topic's own silence tells
        else:
            gid = found.pop()
            replaced = self._known.setdefault(topic, gid) != gid
            self._note(topic, Reason.PUBLISHER_REPLACED if replaced else None)
            self._known[topic] = gid

    def reasons(self) -> set[Reason]:
        return set(self._wrong.values())

    def topics(self) -> list[str]:
        """The topics on which somebody was who should not be, since the last reset."""
        return sorted(self._told)

    def accepted(self) -> None:
        """An operator's reset: who is there now is right."""
        self._told = set(self._wrong)

    def _note(self, topic: str, reason: Reason | None) -> None:
        if reason is None:
            self._wrong.pop(topic, None)
        else:
            self._wrong[topic] = reason
            self._told.add(topic)
