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
from collections.abc import Iterator

import numpy as np

from ..scenario import Jitter, Person
from ..world import WorldError
from .arm import ArmTorques
from .backend import mujoco
from .common import EngineWorld
from .egl import Eye
from .mujoco_lidar import Rays
from .scene import GRAVITY, TRACTION, compose

PLANAR = 3          # joints of the base: x, y, yaw
log = logging.getLogger(__name__)


class MujocoWorld(EngineWorld):
    """See `World`. Used by one thread, which is also the one that renders."""

    _eye: Eye | None = None

    @property
    def has_camera(self) -> bool:
        return self._eye is not None

    def _build(self) -> None:
        self._close_eye()
        scenario, robot, (people, props) = self.scenario, self.robot, self._crowd.shape
        somebody = Person('somebody', (0.0, 0.0), (), 1.0, None, Jitter())
        spec = compose(dataclasses.replace(scenario, people=(somebody,) * people), robot,
                       self.step_ns, props)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._turning_inertia = self._model.body_inertia[1, 2]
        self._torques: ArmTorques | None = None
        if robot.arm is not None:
            x, y, _ = robot.arm.mount
            self._turning_inertia += robot.arm.mass_kg * (x * x + y * y)
            self._torques = ArmTorques(robot.arm, self._model)
        self._rays = Rays(robot.lidar.beams, robot.lidar.range_max_m)
        self._open_eye()

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

    def _restart(self) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:PLANAR] = self._pose
        if self._torques is not None:
            self._torques.rest(self._data, self._motors())

    def _kept(self) -> mujoco.MjData:
        return self._data

    def _keep(self, kept: object) -> None:
        """Joints and what the solver remembers stay as they were."""
        assert isinstance(kept, mujoco.MjData)
        new = self._data
        new.time, new.qpos[:], new.qvel[:] = kept.time, kept.qpos, kept.qvel
        new.qacc_warmstart[:] = kept.qacc_warmstart

    def _advance(self, v: float, w: float, dt: float) -> None:
        model, data, robot = self._model, self._data, self.robot
        # Midway through the step the wheels point here: an arc is then followed to second order.
        heading = self._pose[2] + 0.5 * w * dt
        c, s = math.cos(heading), math.sin(heading)
        vx, vy, vw = data.qvel[:PLANAR].tolist()
        grip = TRACTION * GRAVITY * robot.mass_kg
        forward = _bounded((v - (vx * c + vy * s)) * robot.mass_kg / dt, grip)
        sideways = _bounded((vx * s - vy * c) * robot.mass_kg / dt, grip)
        yaw = (w - vw) * self._turning_inertia / dt
        data.qfrc_applied[:PLANAR] = (forward * c - sideways * s, forward * s + sideways * c, yaw)
        if self._torques is not None:
            self._torques.push(data, self._motors())
        mujoco.mj_step(model, data)
        x, y, turn = data.qpos[:PLANAR].tolist()
        vx, vy, self._w = data.qvel[:PLANAR].tolist()
        self._v = vx * c + vy * s
        self._pose = (x, y, turn)

    def _put(self, twist: tuple[float, float, float]) -> None:
        self._data.qpos[:PLANAR] = self._pose
        self._data.qvel[:PLANAR] = twist

    def _twist_in_world(self) -> tuple[float, float, float]:
        vx, vy, w = self._data.qvel[:PLANAR].tolist()
        return vx, vy, w

    def _place(self) -> None:
        """mj_step leaves the bodies where they were before it moved the joints."""
        for i, person in enumerate(self._people):
            self._data.mocap_pos[i, :2] = person[:2]
        for i, prop in enumerate(self._crowd.props, len(self._people)):
            x, y, z, w = prop.pose.quaternion
            self._data.mocap_pos[i], self._data.mocap_quat[i] = prop.pose.position, (w, x, y, z)
        mujoco.mj_kinematics(self._model, self._data)

    def _cast(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return self._rays.cast(self._model, self._data, origin, directions)

    def _arm_joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self._torques is None:
            return (), ()
        return self._torques.positions(self._data), self._torques.velocities(self._data)

    def _dynamics(self) -> Iterator[bytes]:
        for part in (self._data.qpos, self._data.qvel, self._data.qacc_warmstart):
            yield part.tobytes()

    def _render(self) -> np.ndarray:
        assert self._eye is not None
        mujoco.mj_camlight(self._model, self._data)
        return self._eye.look(self._data)

    def close(self) -> None:
        self._close_eye()
        super().close()

    def _close_eye(self) -> None:
        if self._eye is not None:
            self._eye.close()
        self._eye = None


def _bounded(force: float, bound: float) -> float:
    return min(max(force, -bound), bound)
