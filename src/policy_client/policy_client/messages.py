"""Actions as ROS messages: twists and trajectories for the reflex, chunks for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Transform, Twist, TwistStamped
from trajectory_msgs.msg import (
    JointTrajectory,
    JointTrajectoryPoint,
    MultiDOFJointTrajectory,
    MultiDOFJointTrajectoryPoint,
)

from policy_client.chunks import Array
from policy_client.embodiment import JOINTS, TWIST, Command, Embodiment

_S = 1_000_000_000

Stamp = tuple[int, int]  # seconds, nanoseconds
CommandMessage = Any  # TwistStamped or JointTrajectory: rclpy's messages have no types


def message_type(interface: str) -> type[CommandMessage]:
    """What a command of this interface is published as."""
    return {TWIST: TwistStamped, JOINTS: JointTrajectory}[interface]


def command(embodiment: Embodiment, part: Command, action: Array, stamp: Stamp,
            ahead_ns: int) -> CommandMessage | None:
    """One topic's share of an action (D,); None while nobody knows where its joints are.

    Joints get a trajectory of one point, `ahead_ns` from now: a stream of them is a motion.
    """
    values = action[list(part.columns)]
    if np.isnan(values).any():
        return None
    if part.interface == TWIST:
        message = TwistStamped()
        message.header.stamp.sec, message.header.stamp.nanosec = stamp
        message.header.frame_id = part.frame
        _fill(message.twist, _fields(embodiment, part.columns), values)
        return message
    message = JointTrajectory(joint_names=_fields(embodiment, part.columns))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.points = [_point(values, ahead_ns)]
    return message


def chunk_type(embodiment: Embodiment) -> type[JointTrajectory | MultiDOFJointTrajectory]:
    """What the embodiment's chunks are published as: a base alone is a multi-DOF trajectory."""
    base = all(part.interface == TWIST for part in embodiment.commands)
    return MultiDOFJointTrajectory if base else JointTrajectory


def chunk(embodiment: Embodiment, rows: Array,
          stamp: Stamp) -> JointTrajectory | MultiDOFJointTrajectory:
    """All rows (H, D) of a chunk; what of it is a twist stands in a trajectory as its fields."""
    columns = range(len(embodiment.columns))
    names = _fields(embodiment, columns)
    period = embodiment.action_period_ns
    message: JointTrajectory | MultiDOFJointTrajectory
    if chunk_type(embodiment) is JointTrajectory:
        message = JointTrajectory(joint_names=names)
        message.points = [_point(row, number * period) for number, row in enumerate(rows)]
    else:
        message = MultiDOFJointTrajectory(joint_names=['base'])
        message.header.frame_id = embodiment.commands[0].frame
        for number, row in enumerate(rows):
            point = MultiDOFJointTrajectoryPoint(transforms=[Transform()], velocities=[Twist()])
            _fill(point.velocities[0], names, row)
            _set_time(point, number * period)
            message.points.append(point)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    return message


def stamp_of(nanoseconds: int) -> Stamp:
    return divmod(nanoseconds, _S)


def neutral(frame: str, stamp: Stamp) -> TwistStamped:
    """A twist of zero."""
    message = TwistStamped()
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    message.header.frame_id = frame
    return message


def taken(embodiment: Embodiment, messages: Mapping[str, CommandMessage]) -> Array:
    """The action (D,) that was published as these messages (topic -> message); NaN where none."""
    action = np.full(len(embodiment.columns), np.nan)
    for part in embodiment.commands:
        message = messages.get(part.topic)
        if message is None:
            continue
        if part.interface == TWIST:
            for column in part.columns:
                vector, axis = embodiment.columns[column].drives.split('.')
                action[column] = getattr(getattr(message.twist, vector), axis)
        else:
            action[list(part.columns)] = message.points[0].positions
    return action


def _fields(embodiment: Embodiment, columns: Sequence[int]) -> list[str]:
    return [embodiment.columns[column].drives for column in columns]


def _fill(twist: Twist, names: Sequence[str], values: Array) -> None:
    for name, value in zip(names, values, strict=True):
        vector, axis = name.split('.')
        setattr(getattr(twist, vector), axis, float(value))


def _point(values: Array, time_ns: int) -> JointTrajectoryPoint:
    point = JointTrajectoryPoint(positions=values.tolist())
    _set_time(point, time_ns)
    return point


def _set_time(point: JointTrajectoryPoint | MultiDOFJointTrajectoryPoint, time_ns: int) -> None:
    point.time_from_start.sec, point.time_from_start.nanosec = divmod(time_ns, _S)
