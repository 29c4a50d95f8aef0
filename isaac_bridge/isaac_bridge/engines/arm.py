"""An arm in a MuJoCo model: its bodies on the robot's, and the torques of its drives.

The lidar does not see the arm, as it does not see the rest of its own robot: a real scanner's
driver masks it likewise. The arm touches nothing, not even itself.
"""

import mujoco
import numpy as np

from ..arm import Arm
from ..arm_drive import ArmDrive

COLOUR = (0.95, 0.45, 0.10, 1.0)
LAST_COLOUR = (0.15, 0.15, 0.15, 1.0)


def add_arm(robot: mujoco.MjsBody, arm: Arm, group: int) -> None:
    """Hang the chain on the robot's body; group: of its geoms, one that no lidar looks at."""
    body, origin = robot, np.array(arm.mount)
    for joint, link in zip(arm.joints, arm.links, strict=True):
        body = body.add_body(name=joint.name, pos=origin + link.at)
        body.add_joint(name=joint.name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=link.axis,
                       armature=arm.servo.inertia)
        last = joint is arm.joints[-1]
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[0.0, 0.0, 0.0, *link.tip],
                      size=[link.radius_m, 0.0, 0.0], mass=link.mass_kg, group=group,
                      contype=0, conaffinity=0, rgba=LAST_COLOUR if last else COLOUR)
        origin = np.zeros(3)


class ArmMotors:
    """The drives of an arm in a model where its joints follow `first` others."""

    def __init__(self, arm: Arm, first: int, timeout_s: float) -> None:
        self._servo = arm.servo
        self._own = slice(first, first + len(arm.joints))
        self.drive = ArmDrive(arm, timeout_s)

    def rest(self, data: mujoco.MjData) -> None:
        """Put the joints where the drives hold them."""
        data.qpos[self._own] = self.drive.positions

    def push(self, data: mujoco.MjData, now_ns: int, dt: float) -> None:
        """The torques of the step that begins at now_ns."""
        servo, drive = self._servo, self.drive
        drive.next(now_ns, dt)
        torque = (servo.stiffness * (drive.positions - data.qpos[self._own])
                  + servo.damping * (drive.velocities - data.qvel[self._own]))
        data.qfrc_applied[self._own] = np.clip(torque, -servo.max_torque, servo.max_torque)

    def positions(self, data: mujoco.MjData) -> tuple[float, ...]:
        return tuple(data.qpos[self._own].tolist())

    def velocities(self, data: mujoco.MjData) -> tuple[float, ...]:
        return tuple(data.qvel[self._own].tolist())
