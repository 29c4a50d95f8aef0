"""A world on MuJoCo: the default engine, which runs wherever Python does.

The base has three planar joints (x, y, yaw) and is driven by forces. At each step the motor
controller wants the twist that its ramps allow (`Drive`), and the wheels push with what that takes,
at most what the tyres hold; sideways they resist slipping, up to the same bound. On a free floor
the base therefore follows its ramps exactly, with the braking that its file promises, and against
a rack it is stopped by the contact like a real one. The wheels' angles follow from the twist that
was reached. People are moved along their walks; touching one is found by geometry at every step.
An arm hangs on the base with its weight, and drives turn its joints (`ArmDrive`).
"""

import dataclasses
import logging
import math
from collections.abc import Sequence

import numpy as np

from ..drive import Drive
from ..outline import clearance_m
from ..people import Walker, draw_walks
from ..robot import Robot
from ..scenario import PERSON_RADIUS_M, Scenario
from ..world import START_NS, Frame, Odometry, WorldError
from .egl import Eye, choose_backend

choose_backend()
import mujoco  # noqa: E402
from mujoco import mj_camlight, mj_kinematics, mj_multiRay, mj_resetData, mj_step  # noqa: E402

from .arm import ArmMotors  # noqa: E402
from .scene import GRAVITY, SOLID, TRACTION, build  # noqa: E402

MAX_STEPS = 1_000_000
PLANAR = 3          # joints of the base: x, y, yaw
log = logging.getLogger(__name__)


class MujocoWorld:
    """See `World`. Used by one thread, which is also the one that renders."""

    step_ns = 5_000_000

    def __init__(self, camera: str = 'auto', lidar_noise_m: float | None = None,
                 odometry_error: float = 0.0) -> None:
        """lidar_noise_m replaces the robot file's sigma; odometry_error is the sigma of each
        wheel's radius, relative to its nominal one, drawn once a reset (0: exact odometry)."""
        if camera not in ('auto', 'on', 'off'):
            raise WorldError(f'camera {camera!r} is not one of: auto, on, off')
        self._camera = camera
        self._lidar_noise_m = lidar_noise_m
        self._odometry_error = odometry_error
        self._eye: Eye | None = None
        self._scenario: Scenario | None = None
        self._robot: Robot | None = None
        self._steps = 0

    @property
    def has_camera(self) -> bool:
        return self._eye is not None

    @property
    def t_ns(self) -> int:
        return START_NS + self._steps * self.step_ns

    @property
    def scenario(self) -> Scenario:
        return _loaded(self._scenario)

    @property
    def robot(self) -> Robot:
        return _loaded(self._robot)

    def load(self, scenario: Scenario, robot: Robot, seed: int = 0) -> None:
        if self._needs_build(scenario, robot):
            self.close()
            self._robot = robot
            self._model = build(scenario, robot, self.step_ns)
            self._data = mujoco.MjData(self._model)
            self._turning_inertia = self._model.body_inertia[1, 2]
            if robot.arm is not None:
                x, y, _ = robot.arm.mount
                self._turning_inertia += robot.arm.mass_kg * (x * x + y * y)
            self._open_eye()
            self._prepare_lidar()
        self._scenario = scenario
        self.reset(seed)

    def _needs_build(self, scenario: Scenario, robot: Robot) -> bool:
        """Another start or other walks alone keep the model (and a costly GL context)."""
        old = self._scenario
        return (old is None or robot != self._robot or scenario.aisle != old.aisle
                or scenario.goal != old.goal or len(scenario.people) != len(old.people))

    def _open_eye(self) -> None:
        lens = self.robot.camera
        if self._camera == 'off' or lens is None:
            if self._camera == 'on':
                raise WorldError('camera = on, but the robot file has no camera')
            return
        try:
            self._eye = Eye(self._model, lens.width, lens.height)
        except RuntimeError as problem:
            if self._camera == 'on':
                raise WorldError(str(problem)) from problem
            log.warning('%s', problem)

    def _prepare_lidar(self) -> None:
        lidar = self.robot.lidar
        angles = lidar.angle_min_rad + lidar.angle_increment_rad * np.arange(lidar.beams)
        self._beams = np.exp(1j * (angles + lidar.pose[2]))     # directions in base_link
        self._rays = np.zeros((lidar.beams, 3))
        self._hit_m = np.empty(lidar.beams)
        self._hit_geom = np.empty(lidar.beams, np.int32)
        self._visible = np.zeros(6, np.uint8)
        self._visible[SOLID] = 1
        self._noise_m = lidar.noise_m if self._lidar_noise_m is None else self._lidar_noise_m

    def reset(self, seed: int) -> None:
        scenario, robot = self.scenario, self.robot
        mj_resetData(self._model, self._data)
        self._data.qpos[:PLANAR] = self._pose = scenario.start
        self._seed = seed
        self._steps = 0
        self._v = self._w = 0.0
        self._wheels: tuple[float, ...] = (0.0, 0.0)
        self._drive = Drive(robot.limits)
        self._arm: ArmMotors | None = None
        if robot.arm is not None:
            self._arm = ArmMotors(robot.arm, PLANAR, robot.limits.command_timeout_s)
            self._arm.rest(self._data)
        self._walkers = [Walker(walk) for walk in draw_walks(scenario, seed)]
        self._scale = 1.0 + self._odometry_error * np.random.default_rng(
            [seed, 2]).standard_normal(2)
        self._odometry = self._pose
        self._contact = -1
        self._frame: Frame | None = None
        self._move_people()

    def command(self, v_mps: float, w_radps: float) -> None:
        _loaded(self._scenario)
        self._drive.command(v_mps, w_radps, self.t_ns)

    def command_arm(self, positions: Sequence[float], velocities: Sequence[float],
                    ahead_s: float) -> None:
        self._motors().drive.command(positions, velocities, ahead_s, self.t_ns)

    def hold_arm(self) -> None:
        self._motors().drive.hold()

    def _motors(self) -> ArmMotors:
        _loaded(self._scenario)
        if self._arm is None:
            raise WorldError(f'the robot {self.robot.name} has no arm')
        return self._arm

    def step(self, n: int = 1) -> None:
        _loaded(self._scenario)
        if not 0 < n <= MAX_STEPS:
            raise ValueError(f'step({n}): must be 1 to {MAX_STEPS}')
        if self._frame is not None:
            self._frame, self._contact = None, -1
        for _ in range(n):
            self._step()

    def _step(self) -> None:
        model, data, robot = self._model, self._data, self.robot
        dt = self.step_ns * 1e-9
        v, w = self._drive.next(self._v, self._w, self.t_ns, dt)
        # Midway through the step the wheels point here: an arc is then followed to second order.
        heading = self._pose[2] + 0.5 * w * dt
        c, s = math.cos(heading), math.sin(heading)
        vx, vy, vw = data.qvel[:PLANAR].tolist()
        grip = TRACTION * GRAVITY * robot.mass_kg
        forward = _bounded((v - (vx * c + vy * s)) * robot.mass_kg / dt, grip)
        sideways = _bounded((vx * s - vy * c) * robot.mass_kg / dt, grip)
        yaw = (w - vw) * self._turning_inertia / dt
        data.qfrc_applied[:PLANAR] = (forward * c - sideways * s, forward * s + sideways * c, yaw)
        if self._arm is not None:
            self._arm.push(data, self.t_ns, dt)
        mj_step(model, data)
        x, y, turn = data.qpos[:PLANAR].tolist()
        vx, vy, self._w = data.qvel[:PLANAR].tolist()
        self._v = vx * c + vy * s
        self._pose = (x, y, turn)
        self._steps += 1
        self._turn_wheels(dt)
        self._move_people()

    def _turn_wheels(self, dt: float) -> None:
        speeds = self._wheel_speeds()
        self._wheels = (self._wheels[0] + speeds[0] * dt, self._wheels[1] + speeds[1] * dt)
        if self._odometry_error == 0.0:
            self._odometry = self._pose
            return
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
        radius = self.robot.wheel_radius_m
        left, right = (speed * radius * float(scale) for speed, scale
                       in zip(self._wheel_speeds(), self._scale, strict=True))
        return (left + right) / 2, (right - left) / self.robot.wheel_separation_m

    def _move_people(self) -> None:
        x, y, _ = self._pose
        self._people = [walker.at(self.t_ns, x, y) for walker in self._walkers]
        near2 = (self.robot.circumradius_m + PERSON_RADIUS_M) ** 2
        for i, (px, py, _, _) in enumerate(self._people):
            if (self._contact < 0 and (px - x) ** 2 + (py - y) ** 2 <= near2
                    and self._clearance_m(i) <= 0.0):
                self._contact = i

    def _clearance_m(self, i: int) -> float:
        return clearance_m(self.robot.outline, self._pose, self._people[i][:2], PERSON_RADIUS_M)

    def frame(self, render: bool = False) -> Frame:
        _loaded(self._scenario)
        if self._frame is None:
            self._pose_bodies()
            self._frame = self._look_around()
        if render and self._eye is not None and self._frame.image is None:
            mj_camlight(self._model, self._data)
            self._frame = dataclasses.replace(self._frame, image=self._eye.look(self._data))
        return self._frame

    def _pose_bodies(self) -> None:
        """mj_step leaves the bodies where they were before it moved the joints."""
        for i, person in enumerate(self._people):
            self._data.mocap_pos[i, :2] = person[:2]
        mj_kinematics(self._model, self._data)

    def _look_around(self) -> Frame:
        positions, velocities = self._wheels, self._wheel_speeds()
        if self._arm is not None:
            positions += self._arm.positions(self._data)
            velocities += self._arm.velocities(self._data)
        return Frame(
            t_ns=self.t_ns, robot=self._pose, twist=(self._v, self._w),
            odometry=Odometry(self._odometry, self._odometry_twist()),
            joint_positions=positions, joint_velocities=velocities,
            ranges=self._scan(), image=None,
            people=np.array(self._people, np.float64).reshape(-1, 4),
            clearance_m=min((self._clearance_m(i) for i in range(len(self._people))),
                            default=math.inf),
            contact=self._contact)

    def _scan(self) -> np.ndarray:
        lidar, (x, y, yaw) = self.robot.lidar, self._pose
        c, s = math.cos(yaw), math.sin(yaw)
        origin = np.array([x + c * lidar.pose[0] - s * lidar.pose[1],
                           y + s * lidar.pose[0] + c * lidar.pose[1], lidar.height_m])
        beams = self._beams * complex(c, s)
        self._rays[:, 0], self._rays[:, 1] = beams.real, beams.imag
        mj_multiRay(self._model, self._data, origin, self._rays.reshape(-1), self._visible, True,
                    -1, self._hit_geom, self._hit_m, None, lidar.beams, lidar.range_max_m)
        ranges = self._hit_m.copy()
        ranges[self._hit_geom < 0] = np.inf
        if self._noise_m > 0.0:
            # Drawn from the step's number: the noise of an instant is the same however often,
            # or seldom, a frame was asked for before it.
            random = np.random.Generator(np.random.Philox(key=self._seed, counter=self._steps))
            ranges += self._noise_m * random.standard_normal(lidar.beams)
        ranges[ranges > lidar.range_max_m] = np.inf
        ranges[ranges < lidar.range_min_m] = -np.inf
        return ranges.astype(np.float32)

    def close(self) -> None:
        if self._eye is not None:
            self._eye.close()
        self._eye = self._scenario = self._robot = None


def _loaded[T](part: T | None) -> T:
    if part is None:
        raise WorldError('nothing is loaded: call load first')
    return part


def _bounded(force: float, bound: float) -> float:
    return min(max(force, -bound), bound)
