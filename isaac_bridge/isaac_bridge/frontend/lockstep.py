"""Lock-step: which answers the newest frame still waits for, and for how long. Pure.

A topic has answered a scan when a message came whose stamp is not older than the scan's, nor from
the future: `cmd_vel` carries the stamp of the newest scan that its verdict saw. A command that was
on its way when a new scan left answers an older one, and a command from before a reset none.
"""

from collections.abc import Iterable


class Gate:
    """Shut by `expect`, opened by the last of the answers. now_ns is of a steady clock."""

    def __init__(self, topics: Iterable[str], timeout_ns: int) -> None:
        self.topics = tuple(topics)
        self._timeout_ns = timeout_ns
        self._stamp_ns: int | None = None
        self._newest_ns: dict[str, int] = {}
        self._since_ns = 0
        self.unanswered = dict.fromkeys(self.topics, 0)     # timeouts of each topic, ever
        self.strangers = dict.fromkeys(self.topics, 0)      # stamps of the future

    @property
    def stamp_ns(self) -> int | None:
        """What must be answered; None: nothing."""
        return self._stamp_ns

    @property
    def open(self) -> bool:
        return not self.waiting

    @property
    def waiting(self) -> tuple[str, ...]:
        """The topics that have not answered yet."""
        if self._stamp_ns is None:
            return ()
        return tuple(topic for topic in self.topics
                     if self._newest_ns.get(topic, -1) < self._stamp_ns)

    def expect(self, stamp_ns: int, now_ns: int) -> None:
        """A scan left with this stamp."""
        self._stamp_ns, self._since_ns = stamp_ns, now_ns

    def heard(self, topic: str, stamp_ns: int, world_ns: int) -> None:
        """A message with this stamp came while the world's time was world_ns."""
        if stamp_ns > world_ns:
            self.strangers[topic] += 1
            return
        self._newest_ns[topic] = max(stamp_ns, self._newest_ns.get(topic, -1))

    def clear(self) -> None:
        """The clock went back, or another world was loaded: nothing that was said counts."""
        self._stamp_ns = None
        self._newest_ns.clear()

    def restart(self, now_ns: int) -> None:
        """Wait anew for what is still waited for."""
        self._since_ns = now_ns

    def timed_out(self, now_ns: int) -> tuple[str, ...]:
        """Who is to blame, once; the gate is open then. Empty while there is time, or no wait."""
        late = self.waiting
        if not late or now_ns - self._since_ns < self._timeout_ns:
            return ()
        for topic in late:
            self.unanswered[topic] += 1
        self._stamp_ns = None
        return late
