"""When a free-running world may go on: real time scaled by a factor, and never a burst."""


class Pace:
    """How many physics steps are due on a steady clock.

    A world that is a little late (a rendered image) makes it up; one that is late by more than
    `slack` steps lets that time go, so the world slows down instead of rushing after the clock.
    """

    def __init__(self, step_ns: int, real_time_factor: float, slack: int) -> None:
        self._wall_ns = step_ns / real_time_factor
        self._slack = slack
        self._step_ns = step_ns
        self._due_ns: float | None = None
        self._window_ns = 0
        self._steps = 0

    def due(self, now_ns: int, limit: int) -> int:
        """Steps to make now, at most limit; the first call begins and gives one."""
        if self._due_ns is None:
            self._due_ns, self._window_ns = float(now_ns), now_ns
        late = int((now_ns - self._due_ns) // self._wall_ns)
        if late < 0:
            return 0
        if late > self._slack:
            self._due_ns = now_ns - self._slack * self._wall_ns
            late = self._slack
        steps = min(late + 1, limit)
        self._due_ns += steps * self._wall_ns
        self._steps += steps
        return steps

    def count(self, steps: int) -> None:
        """Steps that were made at another's pace: only for what real_time_factor says."""
        self._steps += steps

    def real_time_factor(self, now_ns: int) -> float:
        """Simulated over steady time since this was last asked."""
        elapsed_ns = max(now_ns - self._window_ns, 1)
        factor = self._steps * self._step_ns / elapsed_ns
        self._window_ns, self._steps = now_ns, 0
        return factor
