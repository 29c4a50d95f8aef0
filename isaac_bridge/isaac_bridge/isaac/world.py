"""A world in Isaac Sim: PhysX with wheels that roll, rays against colliders, a ray-traced camera.

The base is driven through its wheels' velocity drives towards the twist that `Drive` allows, so it
slips and settles as PhysX has it; odometry is what the wheels' angles say. People are put where
they are at the end of a step before it is taken, so that the rays of that step meet them there.

Isaac Sim's own clock is brought to START_NS before the first frame, while the robot settles: the
stamps of the ray-traced topics are then the front end's, as long as time and state are reset
together.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from ..crowd import Prop
from ..engines.wheels import WheelDrivenWorld
from ..entities import Pose, State
from ..world import START_NS, WorldError
from .kit_scene import KitScene, Reading
from .session import current

SETTLE_M = 0.05                         # farther off its start, a robot was put into something


class IsaacWorld(WheelDrivenWorld):
    """See `World`. Used by the thread that started Isaac Sim, and by no other."""

    def __init__(self, camera: str = 'auto', lidar_noise_m: float | None = None,
                 odometry_error: float = 0.0,
                 open_scene: Callable[..., KitScene] = KitScene) -> None:
        """Options as of every engine. open_scene: makes the scene; another one where there is no
        Isaac Sim."""
        super().__init__(camera, lidar_noise_m, odometry_error)
        self._open_scene = open_scene
        self._scene: KitScene | None = None
        self._place_of: tuple | None = None

    @property
    def has_camera(self) -> bool:
        return self._camera != 'off' and self._robot is not None and self._robot.camera is not None

    @property
    def scene(self) -> KitScene:
        """What is loaded. Raises WorldError before that."""
        if self._scene is None:
            raise WorldError('nothing is loaded: call load first')
        return self._scene

    def _build(self) -> None:
        if self._camera == 'on' and self.robot.camera is None:
            raise WorldError('camera = on, but the robot file has no camera')
        place = (self.scenario.aisle, self.scenario.goal, self.robot)
        if self._scene is None or place != self._place_of:
            self._release()
            options = current().options if self._open_scene is KitScene else None
            self._render_steps = max(1, round(1e9 / self.robot.lidar.rate_hz / self.step_ns))
            self._scene = self._open_scene(options, self.scenario, self.robot, self.step_ns,
                                           self._render_steps, self.has_camera)
            self._place_of = place
            self._props: tuple[Prop, ...] = ()

    def _set_props(self) -> None:
        props = self._crowd.props
        if props != self._props:
            self.scene.set_props([(prop.resource, prop.pose) for prop in props])
            self._props = tuple(Prop(prop.name, prop.resource, prop.pose) for prop in props)

    def _release(self) -> None:
        if self._scene is not None:
            self._scene.close()
        self._scene = self._place_of = None

    def _restart(self) -> None:
        start = self._pose
        self._people = self._crowd.people(0, *start[:2])
        arm = tuple(self._arm.positions) if self._arm is not None else ()
        scene = self.scene

        def place() -> None:
            scene.place_robot(State(Pose.flat(*start)), (0.0, 0.0, *arm))
            self._place()
            scene.drive((0.0, 0.0))
            if arm:
                scene.drive_arm(arm, [0.0] * len(arm))

        scene.restart(START_NS * 1e-9, place)
        self._observe()
        if math.dist(self._pose[:2], start[:2]) > SETTLE_M:
            raise WorldError(f'the robot does not stand at its start: from ({start[0]:.3f}, '
                             f'{start[1]:.3f}) it settled at ({self._pose[0]:.3f}, '
                             f'{self._pose[1]:.3f})')
        self._odometry = self._pose
        self._asked = 0.0, 0.0

    def _kept(self) -> object:
        """Nothing: only people and props change in a stage that runs."""
        return None

    def _keep(self, kept: object) -> None:
        self._people = self._crowd.people(self._now_ns, *self._pose[:2])
        self._place()
        self._observe()

    def _advance(self, v: float, w: float, dt: float) -> None:
        scene = self.scene
        scene.drive(self._ask(v, w))
        if self._arm is not None:
            scene.drive_arm(self._arm.positions, self._arm.velocities)
        self._people = self._crowd.people(self._now_ns + self.step_ns, *self._pose[:2])
        self._place()
        scene.advance(1)
        self._observe()
        if (self._steps + 1) % self._render_steps == 0:
            scene.render()

    def _observe(self) -> None:
        """Take pose, twist and joints from the scene."""
        self._reading: Reading = self.scene.read()
        reading = self._reading
        yaw = reading.pose.yaw
        # A quaternion knows no full turns.
        yaw += 2.0 * math.pi * round((self._pose[2] - yaw) / (2.0 * math.pi))
        self._pose = (*reading.pose.position[:2], yaw)
        self._v = reading.linear[0] * math.cos(yaw) + reading.linear[1] * math.sin(yaw)
        self._w = reading.angular[2]
        self._wheels = reading.joint_positions[:2]

    def _turn_wheels(self, dt: float) -> None:
        """They slip: what they say is added up."""
        self._add_odometry(dt)

    def _wheel_speeds(self) -> tuple[float, ...]:
        return self._reading.joint_velocities[:2]

    def _odometry_twist(self) -> tuple[float, float]:
        return self._encoder_twist()

    def _put(self, twist: tuple[float, float, float]) -> None:
        vx, vy, w = twist
        self.scene.place_robot(State(Pose.flat(*self._pose), (vx, vy, 0.0), (0.0, 0.0, w)))
        self._observe()
        self._asked = self._v, self._w

    def _twist_in_world(self) -> tuple[float, float, float]:
        return (*self._reading.linear[:2], self._reading.angular[2])

    def _place(self) -> None:
        self.scene.set_people(len(self._people))
        self.scene.place_people(self._people)
        self._set_props()

    def _cast(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """As the rays were in the last step: what was moved since is seen from the next one on."""
        return self.scene.distances()

    def _arm_joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self._reading.joint_positions[2:], self._reading.joint_velocities[2:]

    def _dynamics(self) -> Iterator[bytes]:
        """What can be read; what PhysX keeps to itself (contacts) is not in it."""
        yield repr((self._reading, self._asked)).encode()

    def _render(self) -> np.ndarray:
        if self._steps % self._render_steps != 0:
            self.scene.render()
        return self.scene.image()

    def close(self) -> None:
        self._release()
        super().close()
