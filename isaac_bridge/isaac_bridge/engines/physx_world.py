"""A world on NVIDIA PhysX, the engine that Isaac Sim runs, without Isaac Sim.

The base is the stage's articulation: it stands on wheels and casters and is driven by its wheels.
At each step the motor controller wants the twist that its ramps allow (`Drive`), and the wheels'
velocity drives turn with it, at once as far as the tyres hold. So the base slips as tyres do, and
what the wheels say (odometry) is not quite the truth. People and spawned things are kinematic: a
lidar sees them; people are not pushed and push nobody.

Everything is single precision, and a scene that is loaded anew is the same bit for bit: a reset
loads it anew.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..arm import HINGE
from ..scenario import Jitter, Person
from ..stage.author import author, text_of
from ..stage.body import joint_path
from ..stage.paths import BASE, PEOPLE, SPAWNED
from ..world import WorldError
from .physx_scene import JOINTS, MOVED, ROBOT, PhysxScene
from .wheels import WheelDrivenWorld

ROOT = ('rootPosition', 'rootOrientation', 'rootLinearVelocity', 'rootAngularVelocity')
HINGES = ('jointPosition', 'jointVelocity')
Columns = dict[str, dict[str, np.ndarray]]


class PhysxWorld(WheelDrivenWorld):
    """See `World`. It renders nothing: frames have no image."""

    _scene: PhysxScene | None = None

    def _build(self) -> None:
        if self._camera == 'on':
            raise WorldError('camera = on, but the engine physx renders nothing; use mujoco')
        self._release()
        people, props = self._crowd.shape
        somebody = Person('somebody', (0.0, 0.0), (), 1.0, None, Jitter())
        scenario = dataclasses.replace(self.scenario, people=(somebody,) * people)
        self._text = text_of(author(scenario, self.robot, props))
        self._joints = [joint_path(name) for name in self.robot.joint_names]
        arm = self.robot.arm
        self._turns = [True, True, *(joint.kind == HINGE for joint in (arm.joints if arm else ()))]
        self._open()

    def _open(self) -> None:
        self._release()
        try:
            self._scene = PhysxScene(self._text)
        except (RuntimeError, FileNotFoundError) as problem:
            raise WorldError(f'PhysX does not load the scene: {problem}') from problem

    def _release(self) -> None:
        if self._scene is not None:
            self._scene.close()
        self._scene = None

    @property
    def scene(self) -> PhysxScene:
        """What is loaded. Raises WorldError before that."""
        if self._scene is None:
            raise WorldError('nothing is loaded: call load first')
        return self._scene

    def _restart(self) -> None:
        # PhysX remembers contacts; only a new scene knows nothing of the last run.
        self._open()
        zero = {path: np.zeros(1) for path in self._joints}
        angles = zero | {path: np.array([angle]) for path, angle
                         in zip(self._arm_paths, self._in_units(
                             self._arm.positions if self._arm else ()), strict=True)}
        self.scene.write(JOINTS, {'jointPosition': angles, 'jointVelocity': zero,
                                  'jointPositionTarget': angles, 'jointVelocityTarget': zero})
        self._put((0.0, 0.0, 0.0))

    def _in_units(self, values: Sequence[float]) -> list[float]:
        """Of the arm's joints, as PhysX has them: degrees, and metres of what slides."""
        return [math.degrees(value) if turns else value
                for value, turns in zip(values, self._turns[2:], strict=True)]

    @property
    def _arm_paths(self) -> list[str]:
        return self._joints[2:]

    def _kept(self) -> tuple[Columns, Columns]:
        return self.scene.read(ROBOT, ROOT), self.scene.read(
            JOINTS, (*HINGES, 'jointPositionTarget', 'jointVelocityTarget'))

    def _keep(self, kept: object) -> None:
        assert isinstance(kept, tuple)
        root, joints = kept
        self.scene.write(JOINTS, joints)
        self.scene.write(ROBOT, root)
        self._observe()

    def _advance(self, v: float, w: float, dt: float) -> None:
        speeds = [math.degrees(speed) for speed in self._ask(v, w)]
        targets = {'jointVelocityTarget': speeds}
        if self._arm is not None:
            targets = {'jointVelocityTarget': speeds + self._in_units(self._arm.velocities),
                       'jointPositionTarget': [0.0, 0.0, *self._in_units(self._arm.positions)]}
        self.scene.write(JOINTS, {
            name: dict(zip(self._joints, np.array(values), strict=True))
            for name, values in targets.items()})
        self.scene.step(dt)
        self._observe()

    def _observe(self) -> None:
        """Take pose, twist and joints from the scene."""
        root = self.scene.read(ROBOT, ROOT)
        x, y, _ = root['rootPosition'][BASE].tolist()
        qx, qy, qz, qw = root['rootOrientation'][BASE].tolist()
        yaw = math.atan2(2.0 * (qw * qz + qx * qy), 1.0 - 2.0 * (qy * qy + qz * qz))
        # A quaternion knows no full turns.
        yaw += 2.0 * math.pi * round((self._pose[2] - yaw) / (2.0 * math.pi))
        self._pose = (x, y, yaw)
        vx, vy, _ = root['rootLinearVelocity'][BASE].tolist()
        self._v = vx * math.cos(yaw) + vy * math.sin(yaw)
        self._w = float(root['rootAngularVelocity'][BASE][2])
        self._world_twist = (vx, vy, self._w)
        joints = self.scene.read(JOINTS, HINGES)
        self._angles, self._speeds = (
            tuple(math.radians(value) if turns else value for value, turns in zip(
                (float(joints[name][path][0]) for path in self._joints), self._turns, strict=True))
            for name in HINGES)
        self._wheels = self._angles[:2]
        self._raw = b''.join(column[path].tobytes() for columns in (root, joints)
                             for _, column in sorted(columns.items()) for path in sorted(column))

    def _turn_wheels(self, dt: float) -> None:
        """They slip: what they say is added up."""
        self._add_odometry(dt)

    def _wheel_speeds(self) -> tuple[float, ...]:
        return self._speeds[:2]

    def _odometry_twist(self) -> tuple[float, float]:
        return self._encoder_twist()

    def _put(self, twist: tuple[float, float, float]) -> None:
        x, y, yaw = self._pose
        vx, vy, w = twist
        self.scene.write(ROBOT, {
            'rootPosition': {BASE: np.array([x, y, 0.0])},
            'rootOrientation': {BASE: np.array([0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)])},
            'rootLinearVelocity': {BASE: np.array([vx, vy, 0.0])},
            'rootAngularVelocity': {BASE: np.array([0.0, 0.0, w])}})
        joints = self.scene.read(JOINTS, ('jointVelocity',))
        forward = vx * math.cos(yaw) + vy * math.sin(yaw)
        across = 0.5 * w * self.robot.wheel_separation_m
        for path, speed in zip(self._joints, (forward - across, forward + across), strict=False):
            joints['jointVelocity'][path] = np.degrees([speed / self.robot.wheel_radius_m])
        self.scene.write(JOINTS, joints)
        self._observe()
        self._asked = self._v, self._w

    def _twist_in_world(self) -> tuple[float, float, float]:
        return self._world_twist

    def _place(self) -> None:
        places: Columns = {'position': {}, 'orientation': {}}
        for i, (x, y, _, _) in enumerate(self._people):
            places['position'][f'{PEOPLE}/person_{i}'] = np.array([x, y, 0.0])
            places['orientation'][f'{PEOPLE}/person_{i}'] = np.array([0.0, 0.0, 0.0, 1.0])
        for i, prop in enumerate(self._crowd.props):
            places['position'][f'{SPAWNED}/prop_{i}'] = np.array(prop.pose.position)
            places['orientation'][f'{SPAWNED}/prop_{i}'] = np.array(prop.pose.quaternion)
        if places['position']:
            self.scene.write(MOVED, places)

    def _cast(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return self.scene.distances(origin, directions, self.robot.lidar.range_max_m)

    def _arm_joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self._angles[2:], self._speeds[2:]

    def _dynamics(self) -> Iterator[bytes]:
        yield self._raw
        yield repr(self._asked).encode()

    def close(self) -> None:
        self._release()
        super().close()
