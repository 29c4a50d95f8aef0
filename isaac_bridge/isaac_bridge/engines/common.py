"""What every engine's world does alike: time, commands, people, odometry, frames, entities.

An engine adds the physics: it overrides the methods of the last section, and nothing else.
"""

import dataclasses
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from ..arm_drive import ArmDrive
from ..crowd import SPAWNABLES, Crowd
from ..drive import Drive
from ..entities import Bounds, Entity, Pose, Resource, Scope, State, check_pose, check_twist
from ..outline import clearance_m
from ..robot import Robot
from ..scenario import PERSON_RADIUS_M, Scenario
from ..stage.paths import STEP_NS
from ..world import START_NS, Frame, Odometry, WorldError
from .lidar import DelayLine, LidarModel
from .sensors import CameraModel, JointModel

MAX_STEPS = 1_000_000


class EngineWorld(ABC):
    """See `World`. Used by one thread, which is also the one that renders."""

    step_ns = STEP_NS

    def __init__(self, camera: str = 'auto', lidar_noise_m: float | None = None,
                 odometry_error: float = 0.0) -> None:
        """lidar_noise_m replaces the robot file's sigma; odometry_error is the sigma of each
        wheel's radius, relative to its nominal one, drawn once a reset (0: exact odometry)."""
        if camera not in ('auto', 'on', 'off'):
            raise WorldError(f'camera {camera!r} is not one of: auto, on, off')
        self._camera = camera
        self._lidar_noise_m = lidar_noise_m
        self._odometry_error = odometry_error
        self._scenario: Scenario | None = None
        self._robot: Robot | None = None
        self._built: tuple | None = None
        self._start_ns = START_NS       # the clock's reading when the state was reset
        self._steps = 0                 # since then
        self._frame: Frame | None = None

    @property
    def has_camera(self) -> bool:
        return False

    @property
    def t_ns(self) -> int:
        return self._start_ns + self._now_ns

    @property
    def _now_ns(self) -> int:
        """Since the state was reset: what commands and walks count in, whatever the clock says."""
        return self._steps * self.step_ns

    @property
    def scenario(self) -> Scenario:
        return loaded(self._scenario)

    @property
    def robot(self) -> Robot:
        return loaded(self._robot)

    def load(self, scenario: Scenario, robot: Robot, seed: int = 0) -> None:
        self._scenario, self._robot = scenario, robot
        self._crowd = Crowd(scenario, robot.name, seed)
        self._build_if_changed()
        lidar = robot.lidar
        self._lidar = LidarModel(
            lidar, lidar.noise_m if self._lidar_noise_m is None else self._lidar_noise_m,
            self.step_ns)
        self._late = DelayLine(self._lidar)
        self._encoders = (None if robot.arm is None or robot.arm.sensor is None
                          else JointModel(robot.arm.sensor, self.step_ns))
        self._images = None if robot.camera is None else CameraModel(robot.camera, self.step_ns)
        self._arm: ArmDrive | None = None
        self.reset(seed)

    def _build_if_changed(self) -> bool:
        """Another start or other walks alone keep what the engine has built."""
        parts = (self.scenario.aisle, self.scenario.goal, self.robot, *self._crowd.shape)
        if parts == self._built:
            return False
        self._built = None
        self._build()
        self._built = parts
        return True

    def _rebuild(self) -> None:
        """After a change of the crowd; the robot goes on as if nothing had been."""
        kept = self._kept()
        if self._build_if_changed():
            self._keep(kept)
        self._look_again()

    def _look_again(self) -> None:
        """Something was moved between two steps: the frame of this instant is another."""
        self._frame = None
        self._move_people()
        self._place()           # what is solid must be there at the next step, seen or not
        self._measure()

    def _measure(self) -> None:
        """What sensors must know of this instant, though it is seen only later."""
        if self._late.wants(self._steps):
            self._late.put(self._steps, self._scan())
        if self._encoders is not None and self._encoders.wants(self._steps):
            self._encoders.put(self._steps, *self._arm_joints(), self._seed)
        if self._images is not None and self._images.wants(self._steps) and self.has_camera:
            self._place()
            self._images.put(self._steps, self._render())

    def reset(self, seed: int, scope: Scope = Scope.ALL) -> None:
        loaded(self._scenario)
        scope = Scope(scope)
        now_ns = START_NS if scope & Scope.TIME else self.t_ns
        self._crowd.reset(seed, scope)
        if scope & Scope.STATE:
            self._reset_state(seed)
        self._start_ns = now_ns - self._now_ns
        self._contact = -1
        self._rebuild()

    def _reset_state(self, seed: int) -> None:
        scenario, robot = self.scenario, self.robot
        self._pose: tuple[float, float, float] = scenario.start
        self._seed = seed
        self._steps = 0
        self._v = self._w = 0.0
        self._wheels: tuple[float, ...] = (0.0, 0.0)
        self._drive = Drive(robot.limits)
        if robot.arm is not None:
            self._arm = ArmDrive(robot.arm, robot.limits.command_timeout_s)
        self._scale = 1.0 + self._odometry_error * np.random.default_rng(
            [seed, 2]).standard_normal(2)
        self._odometry = self._pose
        self._late.clear()
        if self._encoders is not None:
            self._encoders.clear()
        if self._images is not None:
            self._images.clear()
        self._restart()

    def command(self, v_mps: float, w_radps: float) -> None:
        loaded(self._scenario)
        self._drive.command(v_mps, w_radps, self._now_ns)

    def command_arm(self, positions: Sequence[float], velocities: Sequence[float],
                    ahead_s: float) -> None:
        self._motors().command(positions, velocities, ahead_s, self._now_ns)

    def hold_arm(self) -> None:
        self._motors().hold()

    def _motors(self) -> ArmDrive:
        loaded(self._scenario)
        if self._arm is None:
            raise WorldError(f'the robot {self.robot.name} has no arm')
        return self._arm

    def step(self, n: int = 1) -> None:
        loaded(self._scenario)
        if not 0 < n <= MAX_STEPS:
            raise ValueError(f'step({n}): must be 1 to {MAX_STEPS}')
        if self._frame is not None:
            self._frame, self._contact = None, -1
        for _ in range(n):
            self._step()

    def _step(self) -> None:
        dt = self.step_ns * 1e-9
        v, w = self._drive.next(*self._ramped(), self._now_ns, dt)
        if self._arm is not None:
            self._arm.next(self._now_ns, dt)
        self._advance(v, w, dt)
        self._steps += 1
        self._turn_wheels(dt)
        self._move_people()
        self._measure()

    def _ramped(self) -> tuple[float, float]:
        """The twist from which the motor controller's ramps go on: the measured one."""
        return self._v, self._w

    def _turn_wheels(self, dt: float) -> None:
        """The wheels never slip: their angles follow from the twist, and odometry is the truth."""
        speeds = self._wheel_speeds()
        self._wheels = (self._wheels[0] + speeds[0] * dt, self._wheels[1] + speeds[1] * dt)
        if self._odometry_error == 0.0:
            self._odometry = self._pose
        else:
            self._add_odometry(dt)

    def _add_odometry(self, dt: float) -> None:
        v, w = self._odometry_twist()
        x, y, yaw = self._odometry
        heading = yaw + 0.5 * w * dt
        self._odometry = (x + v * dt * math.cos(heading), y + v * dt * math.sin(heading),
                          yaw + w * dt)

    def _wheel_speeds(self) -> tuple[float, ...]:
        across = 0.5 * self._w * self.robot.wheel_separation_m
        radius = self.robot.wheel_radius_m
        return (self._v - across) / radius, (self._v + across) / radius

    def _odometry_twist(self) -> tuple[float, float]:
        """The twist that the encoders show when the wheels' true radii are a little off."""
        if self._odometry_error == 0.0:
            return self._v, self._w
        return self._encoder_twist()

    def _encoder_twist(self) -> tuple[float, float]:
        radius = self.robot.wheel_radius_m
        left, right = (speed * radius * float(scale) for speed, scale
                       in zip(self._wheel_speeds(), self._scale, strict=True))
        return (left + right) / 2, (right - left) / self.robot.wheel_separation_m

    def _move_people(self) -> None:
        x, y, _ = self._pose
        self._people = self._crowd.people(self._now_ns, x, y)
        near2 = (self.robot.circumradius_m + PERSON_RADIUS_M) ** 2
        for i, (px, py, _, _) in enumerate(self._people):
            if (self._contact < 0 and (px - x) ** 2 + (py - y) ** 2 <= near2
                    and self._clearance_m(i) <= 0.0):
                self._contact = i

    def _clearance_m(self, i: int) -> float:
        return clearance_m(self.robot.outline, self._pose, self._people[i][:2], PERSON_RADIUS_M)

    def frame(self, render: bool = False) -> Frame:
        loaded(self._scenario)
        if self._frame is None:
            self._frame = self._look_around()
        if render and self.has_camera and self._frame.image is None:
            self._frame = dataclasses.replace(self._frame, image=self._image())
        return self._frame

    def _image(self) -> np.ndarray | None:
        images = loaded(self._images)
        if images.latency_steps:
            return images.seen(images.late(self._steps), self._steps, self._seed)
        self._place()
        return images.seen(self._render(), self._steps, self._seed)

    def _look_around(self) -> Frame:
        positions, velocities = (self._arm_joints() if self._encoders is None
                                 else self._encoders.newest(self._steps))
        constant = () if self.robot.arm is None else self.robot.arm.constant
        return Frame(
            t_ns=self.t_ns, robot=self._pose, twist=(self._v, self._w),
            odometry=Odometry(self._odometry, self._odometry_twist()),
            joint_positions=self._wheels + positions + tuple(at for _, at in constant),
            joint_velocities=self._wheel_speeds() + velocities + (0.0,) * len(constant),
            ranges=(self._late.newest(self._steps) if self._lidar.latency_steps
                    else self._scan()), image=None,
            people=np.array(self._people, np.float64).reshape(-1, 4),
            clearance_m=min((self._clearance_m(i) for i in range(len(self._people))),
                            default=math.inf),
            contact=self._contact)

    def _scan(self) -> np.ndarray:
        self._place()
        origin, directions = self._lidar.rays(self._pose)
        return self._lidar.ranges(self._cast(origin, directions), self._seed, self._steps)

    def entities(self) -> tuple[Entity, ...]:
        loaded(self._scenario)
        return self._crowd.entities()

    def state(self, name: str) -> State:
        loaded(self._scenario)
        x, y, yaw = self._pose
        if name != self.robot.name:
            return self._crowd.state(name, self._now_ns, x, y)
        vx, vy, w = self._twist_in_world()
        return State(Pose.flat(x, y, yaw), (vx, vy, 0.0), (0.0, 0.0, w))

    def set_state(self, name: str, state: State) -> None:
        loaded(self._scenario)
        if name != self.robot.name:
            self._crowd.set_state(name, state, self._now_ns)
        else:
            check_pose(state.pose, self.scenario.aisle, flat=True)
            check_twist(state)
            x, y, _ = state.pose.position
            # What the wheels say jumps along: `odom` is the world's frame.
            self._odometry = self._pose = (x, y, state.pose.yaw)
            c, s = math.cos(self._pose[2]), math.sin(self._pose[2])
            self._v = state.linear[0] * c + state.linear[1] * s
            self._w = state.angular[2]
            self._put((state.linear[0], state.linear[1], state.angular[2]))
        self._look_again()

    def spawn(self, name: str, resource: Resource, pose: Pose) -> None:
        loaded(self._scenario)
        self._crowd.spawn(name, resource, pose, self._now_ns)
        self._rebuild()

    def delete(self, name: str) -> None:
        loaded(self._scenario)
        self._crowd.delete(name)
        self._rebuild()

    def spawnables(self) -> tuple[Resource, ...]:
        return SPAWNABLES

    def bounds(self, name: str) -> Bounds:
        loaded(self._scenario)
        if name != self.robot.name:
            return self._crowd.bounds(name)
        xs, ys = zip(*self.robot.outline, strict=True)
        return Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), self.robot.height_m))

    def digest(self) -> str:
        loaded(self._scenario)
        digest = hashlib.sha256(self._crowd.digest())
        for part in self._dynamics():
            digest.update(part)
        for sensor in (self._late, self._encoders, self._images):
            if sensor is not None:
                digest.update(sensor.state)
        digest.update(repr((
            self.scenario.name, self._start_ns, self._steps, self._seed, self._pose, self._v,
            self._w, self._wheels, self._odometry, self._scale.tolist(), self._drive.state,
            self._arm and self._arm.state)).encode())
        return digest.hexdigest()

    def close(self) -> None:
        self._scenario = self._robot = self._built = None

    # What an engine overrides.

    @abstractmethod
    def _build(self) -> None:
        """Make the scene of scenario, robot and crowd. Raises WorldError."""

    @abstractmethod
    def _restart(self) -> None:
        """Put the robot at rest at `_pose`, its arm where the drives hold it."""

    @abstractmethod
    def _kept(self) -> object:
        """All that a rebuilt scene has to go on with."""

    @abstractmethod
    def _keep(self, kept: object) -> None:
        """Go on in a rebuilt scene with what `_kept` gave."""

    @abstractmethod
    def _advance(self, v: float, w: float, dt: float) -> None:
        """One physics step towards that twist; sets `_pose`, `_v` and `_w`."""

    @abstractmethod
    def _put(self, twist: tuple[float, float, float]) -> None:
        """Put the robot at `_pose`, with vx, vy and yaw rate in the world's frame."""

    @abstractmethod
    def _twist_in_world(self) -> tuple[float, float, float]:
        """vx, vy and yaw rate."""

    @abstractmethod
    def _place(self) -> None:
        """Move people and props to where they are."""

    @abstractmethod
    def _cast(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distances (beams,) to what is solid, the robot apart; +inf beyond the lidar's range."""

    @abstractmethod
    def _arm_joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Positions and velocities in the file's order; empty without an arm."""

    @abstractmethod
    def _dynamics(self) -> Iterator[bytes]:
        """Of the physics, for the digest."""

    def _render(self) -> np.ndarray:
        """uint8 (height, width, 3); asked for only with `has_camera`."""
        raise WorldError('this engine renders nothing')


def loaded[T](part: T | None) -> T:
    if part is None:
        raise WorldError('nothing is loaded: call load first')
    return part
