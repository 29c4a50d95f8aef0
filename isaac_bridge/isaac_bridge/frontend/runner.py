"""Steps a world and shows it: whatever is due at an instant leaves under exactly its stamp."""

import time
from collections.abc import Callable
from typing import Any

from .. import messages
from ..world import START_NS, Frame, World
from .intake import Intake
from .output import Output


class Runner:
    """Physics steps are counted from the clock's beginning: sensors keep to that grid.

    stamp: world (simulated time) or system (the computer's).
    """

    def __init__(self, world: World, output: Output, intake: Intake, stamp: str,
                 touched: Callable[[Frame], None]) -> None:
        """touched: called with each frame in which a person has newly been touched."""
        self._world, self._output, self._intake = world, output, intake
        self._stamp = stamp
        self._touched = touched
        self._touching = False
        robot = world.robot
        self.steps_a_scan = self._period(robot.lidar.rate_hz)
        self._steps_an_image = (self._period(robot.camera.rate_hz)
                                if robot.camera is not None and world.has_camera else 0)
        self.contacts = 0
        self.steps = 0                          # ever
        self.scan_ns: int | None = None         # the newest scan's stamp

    def _period(self, rate_hz: float) -> int:
        return max(1, round(1e9 / rate_hz / self._world.step_ns))

    @property
    def _tick(self) -> int:
        return (self._world.t_ns - START_NS) // self._world.step_ns

    def to_frame(self) -> int:
        """Physics steps until something is due next."""
        tick = self._tick
        return min(period - tick % period
                   for period in (self.steps_a_scan, self._steps_an_image) if period)

    def to_scan(self) -> int:
        return self.steps_a_scan - self._tick % self.steps_a_scan

    def advance(self, steps: int) -> bool:
        """Exactly so many physics steps, with every frame that falls due on the way.

        Whether the last instant was shown.
        """
        shown = False
        while steps > 0:
            stretch = min(steps, self.to_frame())
            if self._intake.guarded:
                for _ in range(stretch):
                    if self._intake.stopped():
                        self._intake.stop()
                    self._world.step()
            else:
                self._world.step(stretch)
            self.steps += stretch
            steps -= stretch
            shown = self._show()
        return shown

    def show_clock(self) -> None:
        """For an instant at which nothing else is due."""
        self._output.clock(self._time())

    def began(self) -> None:
        """After a load or a reset: no scan is out that could be answered."""
        self.scan_ns = None
        self._touching = False
        self.show_clock()

    def _time(self) -> Any:
        return messages.time_of(
            self._world.t_ns if self._stamp == 'world' else time.time_ns())

    def _show(self) -> bool:
        tick = self._tick
        scan = tick % self.steps_a_scan == 0
        image = self._steps_an_image > 0 and tick % self._steps_an_image == 0
        if not (scan or image):
            return False
        stamp = self._time()
        self._output.clock(stamp)
        if scan:
            frame = self._world.frame()
            self._output.sensors(stamp, frame)
            self.scan_ns = frame.t_ns
            self._count_contact(frame)
        if image and self._world.has_camera:
            # Last, as it takes longest to make.
            frame = self._world.frame(render=True)
            if frame.image is not None:         # else the camera has lost it
                self._output.image(stamp, frame)
        return True

    def _count_contact(self, frame: Frame) -> None:
        touching = frame.contact >= 0
        if touching and not self._touching:
            self.contacts += 1
            self._touched(frame)
        self._touching = touching
