"""One drive in the embedded world: a driver, a start, a goal, an instruction, and what came of it.

The loop is a plain client's: an observation each 0.1 s, the chunk that answers it comes into force
one row later, and rows are held for 0.1 s. Commands go to the world at 40 Hz.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flywheel.amr_policy import expert, wire
from flywheel.amr_policy.language import INSTRUCTIONS, tokenise
from flywheel.amr_policy.onnx_policy import OnnxPolicy
from isaac_bridge.engines import open_world
from isaac_bridge.robot import Robot, read_robot
from isaac_bridge.scenario import Scenario, read_scenario
from isaac_bridge.world import Frame, World

Driver = Callable[[Frame, tuple[float, float], str], NDArray[np.floating]]

TICK_STEPS = 5                  # 25 ms of the world's 5 ms
TICKS_PER_ROW = 4
STILL_S = 1.0                   # at rest for so long: the drive is over
REACHED_M = 0.3
LEAD_IN_M, LEAD_OUT_M = 6.0, 4.0    # the lane is judged after joining and before leaving it


@dataclasses.dataclass(frozen=True)
class Track:
    """rows (N, 6): t, x, y, yaw, v, w at each tick; the goal (x, y); the instruction."""

    rows: NDArray[np.float64]
    goal: tuple[float, float]
    instruction: str

    @property
    def goal_error_m(self) -> float:
        return float(np.hypot(*(self.rows[-1, 1:3] - self.goal)))

    @property
    def stopped(self) -> bool:
        return bool(np.abs(self.rows[-1, 4:]).max() < 0.01)

    @property
    def reached(self) -> bool:
        return self.stopped and self.goal_error_m <= REACHED_M

    @property
    def moved_m(self) -> float:
        return float(np.hypot(*(self.rows[-1, 1:3] - self.rows[0, 1:3])))

    def _on_lane(self) -> NDArray[np.float64]:
        x = self.rows[:, 1]
        begin, end = self.rows[0, 1] + LEAD_IN_M, self.goal[0] - LEAD_OUT_M
        return self.rows[(x > begin) & (x < end)]

    @property
    def cross_track_m(self) -> float:
        """Root mean square distance from the lane between joining and leaving it."""
        rows = self._on_lane()
        return float(np.sqrt(np.mean(rows[:, 2] ** 2))) if len(rows) else float('nan')

    @property
    def cruise_mps(self) -> float:
        rows = self._on_lane()
        return float(np.mean(rows[:, 4])) if len(rows) else float('nan')


class Course:
    """The world and the scenario that drives are made in."""

    def __init__(self, root: Path, scenario: str = 'empty', camera: str = 'auto') -> None:
        scenario_file = root / 'config/scenarios' / f'{scenario}.yaml'
        robot_file = root / 'config/robots/amr.yaml'
        self.scenario: Scenario = read_scenario(scenario_file)
        self.robot: Robot = read_robot(robot_file)
        self.world: World = open_world(scenario_file, robot_file, camera=camera)

    def drive(self, driver: Driver, start: tuple[float, float, float], instruction: str,
              goal: tuple[float, float] | None = None, seconds: float = 90.0,
              render: bool = True) -> Track:
        """From rest at `start` until the robot stands again, or for so many seconds."""
        world, goal = self.world, goal or self.scenario.goal
        world.load(dataclasses.replace(self.scenario, start=start), self.robot)
        chunk: NDArray[np.floating] = np.zeros((wire.HORIZON, 2))
        following, rows, still = chunk, [], 0
        for tick in range(int(seconds * 10 * TICKS_PER_ROW)):
            phase = tick % TICKS_PER_ROW
            if phase == 0:
                chunk = following
                frame = world.frame(render=render)
                following = driver(frame, goal, instruction)
            frame = world.frame()
            rows.append([tick * TICK_STEPS * world.step_ns * 1e-9, *frame.robot, *frame.twist])
            world.command(*(float(value) for value in chunk[1]))
            world.step(TICK_STEPS)
            still = still + 1 if np.abs(frame.twist).max() < 0.005 else 0
            if still * TICK_STEPS * world.step_ns * 1e-9 > STILL_S and tick > 4 * TICKS_PER_ROW:
                break
        return Track(np.array(rows), goal, instruction)


def network(policy: OnnxPolicy, camera: bool) -> Driver:
    """The network behind the wheel; without `camera` every picture is masked."""

    def driver(frame: Frame, goal: tuple[float, float],
               instruction: str) -> NDArray[np.floating]:
        pose = np.array([frame.odometry.pose])
        return policy(frame.image if camera else None, np.array(frame.odometry.twist),
                      expert.goal_in_base(pose, np.array([goal])), tokenise(instruction))

    return driver


def teacher(lane: bool) -> Driver:
    """The expert behind the wheel, with or without sight of the lane."""

    def driver(frame: Frame, goal: tuple[float, float],
               instruction: str) -> NDArray[np.floating]:
        return expert.chunk(np.array([frame.odometry.pose]), np.array([frame.odometry.twist]),
                            np.array([goal]), np.array([INSTRUCTIONS[instruction]]),
                            np.array([lane]))[0]

    return driver
