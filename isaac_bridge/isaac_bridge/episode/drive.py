"""An episode: a seed of a scenario driven by the robot's own reflex and policy client.

Each scan period, in the order that lock-step gives the full stack:

    frame(t) -> reflex: scan(t), odom(t), policy/cmd_vel(t - 1)  -> cmd_vel(t) -> base
             -> policy client: odom(t), image(t - 1), safety/state(t - 1) -> policy/cmd_vel(t)
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import Protocol

import numpy as np

from policy_client import embodiment_file
from policy_client.embodiment import Embodiment
from policy_client.parameters import Parameters
from policy_client.policies.base import Policy
from policy_client.vocabulary import Vocabulary
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import Profile, load_profile
from safety_reflex.reflex import Reflex
from safety_reflex.states import State
from safety_reflex.times import Instant

from ..oracle import Contact, Row, contacts
from ..scenario import Scenario
from ..visibility import sight_of
from ..world import START_NS, Frame, World
from . import cdr, senses
from .brain import HOLD, SERVER, Brain

ARRIVED_M = 0.5
# A command for each scan: in lock-step each of them is answered.
PARAMETERS = Parameters(output_rate_hz=40.0)
_MOVING_MPS = 0.05
# An operator who sees that nothing is in the way resets a robot that has just been started.
_RESET_NS = 1_000_000_000
_IMAGE_NS = 100_000_000


@dataclasses.dataclass(frozen=True)
class Robot:
    """Whose software drives: the reflex's profile, and what the policy sees and moves."""

    profile: Profile
    embodiment: Embodiment
    vocabulary: Vocabulary

    @classmethod
    def read(cls, config: Path, name: str = 'amr') -> 'Robot':
        """From the files of a config folder; raises ValueError for one that breaks a rule."""
        return cls(load_profile(config / f'robots/{name}.yaml',
                                config / f'robots/{name}.fields.yaml'),
                   embodiment_file.load(config / f'embodiments/{name}.yaml'),
                   Vocabulary.load(config / 'embodiments/vocabulary.txt'))


@dataclasses.dataclass
class Episode:
    """What happened. rows (n, 5 + 4 people): t, x, y, yaw, v of each scan, then x, y, vx, vy."""

    scenario: str
    seed: int
    arrived: bool = False
    seconds: float = 0.0
    stops: int = 0                                  # of a robot that might move, by the reflex
    stop_reasons: list[str] = field(default_factory=list)
    latched: str = ''                               # why, if it latched; the episode ends there
    contacts: list[Contact] = field(default_factory=list)
    min_clearance_m: float = float('inf')           # to people, while the robot moved
    path_m: float = 0.0
    fallback_share: float = 0.0                     # of the time, led by another than the server
    broken: list[str] = field(default_factory=list)  # criteria that it did not hold to
    digest: str = ''                                # over all frames and commands
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 5)))

    @property
    def success(self) -> bool:
        return not self.broken


def run(world: World, robot: Robot, scenario: Scenario, seed: int, server: Policy,
        board: Policy | None = None, parameters: Parameters | None = None,
        witnesses: Iterable['Witness'] = ()) -> Episode:
    """Drive until the goal, the time limit or a latch. The policies stay open.

    witnesses are shown each frame before anybody decides: a policy that is told the truth, a film.
    """
    world.load(scenario, world.robot, seed)
    brain = Brain(robot.embodiment, robot.vocabulary, server, board, scenario.faults, seed,
                  parameters or PARAMETERS)
    drive = _Drive(world, robot, scenario, brain, Episode(scenario.name, seed), tuple(witnesses))
    return drive.to_its_end()


class Witness(Protocol):
    """Sees the truth of each frame."""

    def see(self, frame: Frame, world: World) -> None:
        """Called once for each scan's instant, before anybody decides."""


class _Drive:
    def __init__(self, world: World, robot: Robot, scenario: Scenario, brain: Brain,
                 shown: Episode, witnesses: tuple[Witness, ...]) -> None:
        self._world, self._scenario, self._brain, self._shown = world, scenario, brain, shown
        self._witnesses = witnesses
        self._reflex = Reflex(robot.profile, ReflexParameters(
            require_enable=False, clock='sim').settings())
        self._lidar = robot.profile.lidars[0]
        self._steps = max(1, round(1e9 / world.robot.lidar.rate_hz / world.step_ns))
        self._renders = scenario.faults.camera and world.has_camera
        self._image_ns = START_NS
        self._reset_ns = START_NS + _RESET_NS // 4
        self._has_moved = False     # the latch of a start is none of the drive's
        self._state: State = State.STARTING
        self._topic = next((key.topic for key in robot.embodiment.video), '')
        self._rows: list[Row] = []
        self._track: list[list[float]] = []
        self._digest = hashlib.sha256()
        self._fallback = 0

    def to_its_end(self) -> Episode:
        world, shown = self._world, self._shown
        limit_ns = START_NS + round(self._scenario.task.limit_s * 1e9)
        self._begin()
        while world.t_ns < limit_ns and not shown.latched and not shown.arrived:
            frame = self._look()
            action = self._think(frame)
            v, w = self._verdict(frame)
            self._exchange(frame, action)
            self._judge(frame)
            self._digest.update(np.array([frame.t_ns, *frame.robot, v, w], np.float64).tobytes())
            world.command(v, w)
            world.step(self._steps)
        return self._judged()

    def _begin(self) -> None:
        now_ns = self._world.t_ns
        self._brain.hear('task', senses.task(self._scenario.task.instruction, now_ns), now_ns)
        self._brain.hear('goal_pose', senses.goal(self._scenario.goal, now_ns), now_ns)

    def _look(self) -> Frame:
        due = self._renders and self._world.t_ns >= self._image_ns
        if due:
            self._image_ns += _IMAGE_NS
        frame = self._world.frame(render=due)
        for witness in self._witnesses:
            witness.see(frame, self._world)
        return frame

    def _verdict(self, frame: Frame) -> tuple[float, float]:
        reflex, now = self._reflex, Instant(frame.t_ns, frame.t_ns)
        reflex.odometry.take(cdr.odometry(frame.t_ns, *frame.odometry.twist), now)
        reflex.on_scan(0, cdr.scan(
            frame.t_ns, frame.ranges.astype('<f4').tobytes(), self._lidar.angle_min_rad,
            self._lidar.angle_increment_rad), now)
        if reflex.machine.state is State.LATCHED and not self._has_moved and \
                frame.t_ns >= self._reset_ns:
            self._reset_ns = frame.t_ns + _RESET_NS
            reflex.reset(now)
        _, v, w = reflex.decide(now)
        state = reflex.machine.state
        self._count(state)
        self._has_moved |= reflex.machine.may_move
        self._state = state
        return v, w

    def _count(self, state: State) -> None:
        if state in (State.STOPPED, State.LATCHED) and self._state in (
                State.RUNNING, State.SLOWED):
            reasons = ','.join(sorted(self._reflex.active))
            self._shown.stops += 1
            self._shown.stop_reasons.append(reasons)
        if state is State.LATCHED and self._has_moved:
            self._shown.latched = ','.join(sorted(self._reflex.machine.latched_by)) or 'unknown'

    def _think(self, frame: Frame) -> np.ndarray | None:
        self._brain.hear('odom', senses.odometry(frame), frame.t_ns)
        return self._brain.step(frame.t_ns)

    def _exchange(self, frame: Frame, action: np.ndarray | None) -> None:
        """What arrives between this instant and the next."""
        if action is not None:
            v, w = float(action[0]), float(action[1])
            self._reflex.on_command(cdr.twist(frame.t_ns, v, w),
                                    Instant(frame.t_ns, frame.t_ns))
        self._brain.hear_reflex(dict(self._reflex.status(frame.t_ns)), frame.t_ns)
        if frame.image is not None and self._renders:
            self._brain.hear(self._topic, senses.image(frame.image, frame.t_ns), frame.t_ns)

    def _judge(self, frame: Frame) -> None:
        shown, (x, y, yaw) = self._shown, frame.robot
        self._rows.append(Row.of(frame.truth(False)))
        if self._track:
            _, x0, y0, *_ = self._track[-1]
            shown.path_m += float(np.hypot(x - x0, y - y0))
        self._track.append([(frame.t_ns - START_NS) * 1e-9, x, y, yaw, frame.twist[0],
                            *frame.people.reshape(-1)])
        if abs(frame.twist[0]) > _MOVING_MPS:
            shown.min_clearance_m = min(shown.min_clearance_m, frame.clearance_m)
        self._fallback += self._brain.source not in (SERVER, HOLD)
        gx, gy = self._scenario.goal
        shown.arrived = bool(np.hypot(gx - x, gy - y) <= ARRIVED_M
                             and abs(frame.twist[0]) < _MOVING_MPS)

    def _judged(self) -> Episode:
        shown, criteria = self._shown, self._scenario.criteria
        shown.seconds = (self._world.t_ns - START_NS) * 1e-9
        shown.contacts = contacts(self._rows, self._world.robot,
                                  sight_of(self._scenario, self._world.robot))
        shown.fallback_share = self._fallback / max(1, len(self._rows))
        shown.rows = np.array(self._track)
        shown.digest = self._digest.hexdigest()
        if shown.latched:
            shown.broken.append(f'the reflex latched: {shown.latched}')
        elif not shown.arrived:
            shown.broken.append(f'not at the goal within {self._scenario.task.limit_s:g} s')
        if any(contact.moving for contact in shown.contacts):
            shown.broken.append('touched a person in motion')
        if criteria.max_stops is not None and shown.stops > criteria.max_stops:
            shown.broken.append(f'{shown.stops} stops of the reflex, {criteria.max_stops} allowed')
        if shown.min_clearance_m < criteria.min_clearance_m:
            shown.broken.append(f'passed a person at {shown.min_clearance_m:.2f} m, '
                                f'{criteria.min_clearance_m:g} m are asked for')
        return shown
