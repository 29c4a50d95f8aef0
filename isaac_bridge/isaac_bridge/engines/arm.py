"""An arm in a MuJoCo model: its bodies on the robot's, and the torques of its drives.

It is a chain or a tree; MuJoCo keeps joints in an order of its own, so they are found by name.

The lidar does not see the arm, as it does not see the rest of its own robot: a real scanner's
driver masks it likewise. The arm touches nothing, not even itself.
"""

import numpy as np

from ..arm import Arm
from ..arm_drive import ArmDrive
from ..stage import paths
from ..stage.description import Description
from .backend import mujoco


def add_arm(robot: mujoco.MjsBody, stage: Description, group: int) -> dict[str, mujoco.MjsBody]:
    """Hang the stage's links on the robot's body; group: of their geoms, one that no lidar sees.

    All bodies of the robot, by the paths of their prims.
    """
    bodies = {paths.BASE: robot}
    for hinge in stage.hinges:
        if hinge.lower is None or hinge.upper is None:
            continue            # a wheel
        body = bodies[hinge.parent].add_body(name=hinge.name, pos=hinge.at)
        kind = mujoco.mjtJoint.mjJNT_SLIDE if hinge.slides else mujoco.mjtJoint.mjJNT_HINGE
        body.add_joint(name=hinge.name, type=kind, axis=hinge.axis, armature=hinge.armature,
                       range=[hinge.lower, hinge.upper])
        mass = stage.by_path[hinge.child].mass_kg
        for bar in stage.of(hinge.child):
            body.add_geom(name=bar.path, type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                          fromto=[0.0, 0.0, 0.0, *(bar.tip or (0.0, 0.0, 0.0))],
                          size=[bar.size[0], 0.0, 0.0], mass=mass, group=group,
                          contype=0, conaffinity=0, rgba=[*bar.colour, 1])
        bodies[hinge.child] = body
    return bodies


class ArmTorques:
    """What an arm's servos do in a model that has its joints, in the order of the arm's file."""

    def __init__(self, arm: Arm, model: mujoco.MjModel) -> None:
        joints = [model.joint(name) for name in arm.names]
        # Where in qpos and in qvel.
        self._at = np.array([joint.qposadr[0] for joint in joints])
        self._moving = np.array([joint.dofadr[0] for joint in joints])
        self._stiffness = np.array([servo.stiffness for servo in arm.drives])
        self._damping = np.array([servo.damping for servo in arm.drives])
        self._max_torque = np.array([servo.max_torque for servo in arm.drives])

    def rest(self, data: mujoco.MjData, drive: ArmDrive) -> None:
        """Put the joints where the drives hold them."""
        data.qpos[self._at] = drive.positions

    def push(self, data: mujoco.MjData, drive: ArmDrive) -> None:
        """The torques of the step whose references the drives have now."""
        torque = (self._stiffness * (drive.positions - data.qpos[self._at])
                  + self._damping * (drive.velocities - data.qvel[self._moving]))
        data.qfrc_applied[self._moving] = np.clip(torque, -self._max_torque, self._max_torque)

    def positions(self, data: mujoco.MjData) -> tuple[float, ...]:
        return tuple(data.qpos[self._at].tolist())

    def velocities(self, data: mujoco.MjData) -> tuple[float, ...]:
        return tuple(data.qvel[self._moving].tolist())
