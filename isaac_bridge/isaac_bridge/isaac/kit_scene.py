"""Everything that calls Isaac Sim once it runs: one stage, one articulation, its sensors.

Quaternions of Isaac Sim's prims are w, x, y, z. Positions and velocities of a robot are of its
articulation root in the world's frame.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..entities import Pose, Resource, State
from ..robot import Robot
from ..scenario import Scenario
from ..world import WorldError
from . import graph, rtx_lidar
from .beams import Beams
from .graph_build import build
from .session import Options

if TYPE_CHECKING:
    from isaacsim.core.experimental.prims import XformPrim
    from isaacsim.sensors.experimental.rtx import CameraSensor

TIMELINE_END = 1e9      # time codes
LOAD_UPDATES = 10_000
IMAGE_TRIES = 8     # a renderer's first images come late: its pipelines are compiled


@dataclasses.dataclass(frozen=True)
class Reading:
    """The robot at an instant."""

    pose: Pose
    linear: tuple[float, float, float]
    angular: tuple[float, float, float]
    joint_positions: tuple[float, ...]
    joint_velocities: tuple[float, ...]


class KitScene:
    """A scenario's stage in a running Isaac Sim."""

    def __init__(self, options: Options, scenario: Scenario, robot: Robot, step_ns: int,
                 render_steps: int, camera: bool) -> None:
        """Raises WorldError."""
        from isaacsim.core.experimental.prims import Articulation
        from isaacsim.core.rendering_manager import RenderingManager
        from isaacsim.core.simulation_manager import SimulationManager
        from isaacsim.sensors.experimental.physics import Raycast, RaycastSensor

        from ..stage import paths
        from ..stage.body import camera_path
        from ..stage.prims import name_of
        self._robot, self._step_s = robot, step_ns * 1e-9
        self._physics = SimulationManager
        self._renderer = RenderingManager
        self._open(options, scenario)
        SimulationManager.setup_simulation(dt=self._step_s, device='cpu')
        self._check_period()
        RenderingManager.set_dt(render_steps * self._step_s)
        lidar = robot.lidar
        self._beams = Beams(robot)
        self._base = paths.BASE
        self._rays = RaycastSensor(Raycast.create(
            f'{paths.BASE}/{name_of(lidar.name)}_rays',
            translations=[[lidar.pose[0], lidar.pose[1], lidar.height_m]],
            min_range=0.0, max_range=lidar.range_max_m, ray_origins=self._beams.origins,
            ray_directions=self._beams.directions, output_frame='SENSOR'))
        self._eye: CameraSensor | None = None
        camera_prim = None
        if robot.camera is not None and camera:
            camera_prim = camera_path(robot.camera)
            self._open_camera(camera_prim)
        if options.rtx is not None:
            build(graph.rtx_graph(robot, self._rtx_lidar(), camera_prim, options.rtx))
        self._articulation = Articulation(paths.BASE)
        self._people: list[XformPrim] = []
        self._props: list[str] = []
        self._names = [name_of(name) for name in robot.joint_names]

    def _open(self, options: Options, scenario: Scenario) -> None:
        from isaacsim.core.experimental.utils import app as app_utils
        from isaacsim.core.experimental.utils import stage as stage_utils
        path = options.stage
        if path is None:
            path = self._author(scenario)
        opened, _ = stage_utils.open_stage(path)
        if not opened:
            raise WorldError(f'Isaac Sim could not open the stage {path}')
        if options.backdrop is not None:
            stage_utils.add_reference_to_stage(options.backdrop, '/World/backdrop')
        # A timeline that came to its end would jump back, and physics with it.
        stage_utils.set_stage_time_code(start_time_code=0.0, end_time_code=TIMELINE_END)
        for _ in range(LOAD_UPDATES):
            app_utils.update_app(steps=2)       # who listens for a new stage hears of it now
            if not stage_utils.is_stage_loading():
                return
        raise WorldError(f'Isaac Sim is still loading {path} after {LOAD_UPDATES} updates')

    def _check_period(self) -> None:
        """One physics scene, with our period: had Isaac Sim not found the stage's, it would quietly
        have made one of its own, of 1/60 s. Raises WorldError."""
        periods = [scene.get_dt() for scene in self._physics.get_physics_scenes()]
        if len(periods) != 1 or abs(periods[0] - self._step_s) > 1e-9:
            raise WorldError(f'Isaac Sim has physics scenes with periods {periods} s, not one with '
                             f'{self._step_s} s')

    def _author(self, scenario: Scenario) -> str:
        try:
            from ..stage.author import author, text_of
        except ImportError as problem:
            raise WorldError(f'this Isaac Sim cannot author a stage ({problem}): author it with '
                             'usd-core and give it with --stage') from problem
        folder = tempfile.mkdtemp(prefix='isaac_bridge_')
        path = Path(folder) / f'{scenario.name}.usda'
        path.write_text(text_of(author(scenario, self._robot)))
        return str(path)

    def _open_camera(self, prim: str) -> None:
        from isaacsim.sensors.experimental.rtx import CameraSensor
        lens = self._robot.camera
        assert lens is not None
        self._eye = CameraSensor(prim, resolution=(lens.height, lens.width), annotators=['rgb'])

    def _rtx_lidar(self) -> str:
        from isaacsim.sensors.experimental.rtx import Lidar
        lidar = self._robot.lidar
        path = f'{self._base}/{lidar.name}_rtx'
        try:
            attributes = rtx_lidar.attributes(lidar)
        except ValueError as problem:
            raise WorldError(str(problem)) from problem
        half = lidar.pose[2] / 2
        self._lidar = Lidar(
            path, accumulate_outputs=True, aux_output_level='NONE',
            schemas=[f'{rtx_lidar.EMITTER_SCHEMA}:{rtx_lidar.EMITTER}'], attributes=attributes,
            translations=[[lidar.pose[0], lidar.pose[1], lidar.height_m]],
            orientations=[[math.cos(half), 0.0, 0.0, math.sin(half)]])
        return path

    def restart(self, until_s: float, place: Callable[[], None]) -> None:
        """Stop, play again, put everything in place, and let it settle until Isaac Sim's own clock
        reads until_s. Raises WorldError."""
        from isaacsim.core.experimental.utils import app as app_utils
        app_utils.stop()
        app_utils.update_app(steps=1)
        app_utils.play()
        self._physics.initialize_physics()
        self._dofs = self._articulation.get_dof_indices(self._names).numpy()
        self._rays.get_data()       # a stop took the rays away; they are made when first asked for
        place()
        left = round((until_s - self._physics.get_simulation_time()) / self._step_s)
        if left < 1:
            raise WorldError(f'Isaac Sim took {-left} physics steps too many to start')
        self.advance(left)
        now_s = self._physics.get_simulation_time()
        if abs(now_s - until_s) > 1e-6:
            raise WorldError(f'Isaac Sim says {now_s} s after it settled, not {until_s}')

    def advance(self, n: int) -> None:
        """Exactly n physics steps. Raises WorldError."""
        before = self._physics.get_num_physics_steps()
        self._physics.step(steps=n, update_fabric=False)
        taken = self._physics.get_num_physics_steps() - before
        if taken != n:
            raise WorldError(f'Isaac Sim took {taken} physics steps where {n} were asked')

    def read(self) -> Reading:
        positions, quaternions = self._articulation.get_world_poses()
        linear, angular = self._articulation.get_velocities()
        w, x, y, z = quaternions.numpy()[0].tolist()
        px, py, pz = positions.numpy()[0].tolist()
        dofs = self._articulation.get_dof_positions(dof_indices=self._dofs).numpy()[0]
        rates = self._articulation.get_dof_velocities(dof_indices=self._dofs).numpy()[0]
        return Reading(Pose((px, py, pz), (x, y, z, w)), _vector(linear), _vector(angular),
                       tuple(dofs.tolist()), tuple(rates.tolist()))

    def distances(self) -> np.ndarray:
        """float64 (beams,) from the lidar at the last physics step, +inf where nothing was hit.

        Raises WorldError for rays of an older step.
        """
        frame = self._rays.get_data()
        depths = np.asarray(frame['depths'])
        now_s = self._physics.get_simulation_time()
        if len(depths) == 0 or abs(frame['time'] - now_s) > 0.5 * self._step_s:
            raise WorldError(f'the rays are of {frame["time"]} s, not of {now_s} s')
        return self._beams.distances(depths)

    def drive(self, wheels: Sequence[float]) -> None:
        """Target speeds of the left and the right wheel, rad/s."""
        self._articulation.set_dof_velocity_targets([list(wheels)], dof_indices=self._dofs[:2])

    def drive_arm(self, positions: Sequence[float], velocities: Sequence[float]) -> None:
        self._articulation.set_dof_position_targets([list(positions)], dof_indices=self._dofs[2:])
        self._articulation.set_dof_velocity_targets([list(velocities)], dof_indices=self._dofs[2:])

    def place_robot(self, state: State, joints: Sequence[float] | None = None) -> None:
        """joints: positions of all of them; None: as they are. Wheels turn as the base moves."""
        x, y, z, w = state.pose.quaternion
        self._articulation.set_world_poses(positions=[list(state.pose.position)],
                                           orientations=[[w, x, y, z]])
        self._articulation.set_velocities(linear_velocities=[list(state.linear)],
                                          angular_velocities=[list(state.angular)])
        if joints is not None:
            self._articulation.set_dof_positions([list(joints)], dof_indices=self._dofs)
        robot, yaw = self._robot, state.pose.yaw
        forward = state.linear[0] * math.cos(yaw) + state.linear[1] * math.sin(yaw)
        across = 0.5 * state.angular[2] * robot.wheel_separation_m
        wheels = [(forward - across) / robot.wheel_radius_m,
                  (forward + across) / robot.wheel_radius_m]
        self._articulation.set_dof_velocities(
            [wheels + [0.0] * (len(self._dofs) - 2)], dof_indices=self._dofs)

    def set_people(self, count: int) -> None:
        """As many people as that; where they are is said by `place_people`."""
        if count == len(self._people):
            return
        from isaacsim.core.experimental.prims import XformPrim
        from isaacsim.core.experimental.utils import stage as stage_utils

        from ..stage import paths
        from ..stage.author import PERSON_COLOURS, add_person
        stage = stage_utils.get_current_stage()
        for i in range(len(self._people), count):
            path = f'{paths.PEOPLE}/person_{i}'
            if not stage.GetPrimAtPath(path).IsValid():
                add_person(stage, path, f'person_{i}', (0.0, 0.0, 0.0), PERSON_COLOURS[i % 3])
            self._people.append(XformPrim(path))
        for i in range(len(self._people) - 1, count - 1, -1):
            self._people.pop()
            stage_utils.delete_prim(f'{paths.PEOPLE}/person_{i}')

    def place_people(self, people: Sequence[tuple[float, float, float, float]]) -> None:
        for prim, (x, y, _, _) in zip(self._people, people, strict=True):
            prim.set_local_poses(translations=[[x, y, 0.0]])

    def set_props(self, props: Sequence[tuple[Resource, Pose]]) -> None:
        """Everything spawned that is no person, anew."""
        from isaacsim.core.experimental.prims import XformPrim
        from isaacsim.core.experimental.utils import stage as stage_utils

        from ..stage import paths
        from ..stage.prims import box, collide, cylinder, xform
        stage = stage_utils.get_current_stage()
        for path in self._props:
            stage_utils.delete_prim(path)
        self._props = [f'{paths.SPAWNED}/prop_{i}' for i in range(len(props))]
        for path, (resource, pose) in zip(self._props, props, strict=True):
            xform(stage, path)
            w, d, h = resource.size_m
            middle, colour = (0.0, 0.0, h / 2), (0.6, 0.6, 0.2)
            shape = (box(stage, f'{path}/shape', middle, (w, d, h), colour)
                     if resource.kind == 'box' else
                     cylinder(stage, f'{path}/shape', middle, w / 2, h, colour))
            collide(shape)
            x, y, z, turn = pose.quaternion
            XformPrim(path, positions=[list(pose.position)], orientations=[[turn, x, y, z]],
                      reset_xform_op_properties=True)

    def render(self) -> None:
        """One frame of the renderer, and of the graph; physics does not move."""
        self._renderer.render()

    def image(self) -> np.ndarray:
        """uint8 (height, width, 3) RGB of this instant. Raises WorldError."""
        assert self._eye is not None
        for _ in range(IMAGE_TRIES):
            data, _ = self._eye.get_data('rgb')
            if data is not None:
                pixels: np.ndarray = np.array(data.numpy()[:, :, :3], np.uint8)
                return pixels
            self.render()
        raise WorldError(f'the camera gave no image in {IMAGE_TRIES} frames')

    def close(self) -> None:
        from isaacsim.core.experimental.utils import app as app_utils
        from isaacsim.core.experimental.utils import stage as stage_utils
        app_utils.stop()
        stage_utils.close_stage()


def _vector(values: Any) -> tuple[float, float, float]:
    x, y, z = values.numpy()[0].tolist()
    return x, y, z
