"""ROS messages of a frame, made once and refilled: the only cost left a scan is its copy."""

import array
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory

from .robot import Camera, Lidar, Robot
from .world import Frame


def scan(lidar: Lidar) -> LaserScan:
    message = LaserScan()
    message.header.frame_id = lidar.frame
    message.angle_min, message.angle_max = lidar.angle_min_rad, lidar.angle_max_rad
    message.angle_increment = lidar.angle_increment_rad
    message.scan_time = 1.0 / lidar.rate_hz
    message.range_min, message.range_max = lidar.range_min_m, lidar.range_max_m
    return message


def fill_scan(message: LaserScan, stamp: Time, frame: Frame) -> LaserScan:
    message.header.stamp = stamp
    message.ranges = array.array('f', frame.ranges.tobytes())
    return message


def odometry() -> Odometry:
    message = Odometry()
    message.header.frame_id, message.child_frame_id = 'odom', 'base_link'
    return message


def fill_odometry(message: Odometry, stamp: Time, frame: Frame) -> Odometry:
    message.header.stamp = stamp
    x, y, yaw = frame.odometry.pose
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = x, y
    pose.orientation.z, pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    twist.linear.x, twist.angular.z = frame.odometry.twist
    return message


def joint_state(robot: Robot) -> JointState:
    return JointState(name=list(robot.told_names))


def fill_joint_state(message: JointState, stamp: Time, frame: Frame) -> JointState:
    message.header.stamp = stamp
    message.position = array.array('d', frame.joint_positions)
    message.velocity = array.array('d', frame.joint_velocities)
    return message


def set_point(message: JointTrajectory,
              names: Sequence[str]) -> tuple[list[float], list[float], float]:
    """(positions, velocities, seconds ahead) of a streamed trajectory of one point.

    In the order of `names`; velocities that are not said are zero. Raises ValueError.
    """
    if set(message.joint_names) != set(names) or len(message.joint_names) != len(names):
        raise ValueError(f'joints {", ".join(message.joint_names)} are not {", ".join(names)}')
    if len(message.points) != 1:
        raise ValueError(f'{len(message.points)} points: set points are streamed one by one')
    point = message.points[0]
    given = [list(point.positions), list(point.velocities) or [0.0] * len(names)]
    if any(len(values) != len(names) for values in given):
        raise ValueError(f'its numbers are not one for each of {len(names)} joints')
    order = [message.joint_names.index(name) for name in names]
    positions, velocities = ([values[i] for i in order] for values in given)
    return positions, velocities, point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec


def base_transform() -> TFMessage:
    return TFMessage(transforms=[_transform('odom', 'base_link')])


def fill_base_transform(message: TFMessage, stamp: Time, frame: Frame) -> TFMessage:
    """odom to base_link, as the odometry has it."""
    transform = message.transforms[0]
    transform.header.stamp = stamp
    x, y, yaw = frame.odometry.pose
    transform.transform.translation.x, transform.transform.translation.y = x, y
    transform.transform.rotation.z = math.sin(yaw / 2)
    transform.transform.rotation.w = math.cos(yaw / 2)
    return message


def sensor_transforms(robot: Robot) -> TFMessage:
    """base_link to the lidar; what carries the camera (base_link, or a link of the arm) to the
    camera, and that to its optical frame (REP-103)."""
    lidar = robot.lidar
    x, y, yaw = lidar.pose
    transforms = [_transform('base_link', lidar.frame, (x, y, lidar.height_m),
                             (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))]
    if robot.camera is not None:
        lens = robot.camera
        half = lens.pitch_rad / 2
        transforms += [
            _transform(lens.parent_frame, lens.frame, lens.pose, (0.0, math.sin(half), 0.0,
                                                            math.cos(half))),
            _transform(lens.frame, optical_frame(lens), (0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5))]
    return TFMessage(transforms=transforms)


def optical_frame(lens: Camera) -> str:
    return f'{lens.frame}_optical'


def image(lens: Camera) -> Image:
    message = Image(height=lens.height, width=lens.width, encoding='rgb8', step=lens.width * 3)
    message.header.frame_id = optical_frame(lens)
    return message


def fill_image(message: Image, stamp: Time, pixels: np.ndarray) -> Image:
    message.header.stamp = stamp
    message.data = array.array('B', pixels.tobytes())
    return message


def camera_info(lens: Camera) -> CameraInfo:
    """A pinhole without distortion; pixel centres at whole numbers."""
    f, cx, cy = lens.focal_px, (lens.width - 1) / 2, (lens.height - 1) / 2
    message = CameraInfo(height=lens.height, width=lens.width, distortion_model='plumb_bob',
                         d=[0.0] * 5, k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
                         r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
                         p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0])
    message.header.frame_id = optical_frame(lens)
    return message


def truth(frame: Frame, camera: bool) -> String:
    return String(data=json.dumps(frame.truth(camera), allow_nan=False))


def clock(stamp: Time) -> Clock:
    return Clock(clock=stamp)


def time_of(t_ns: int) -> Time:
    return Time(sec=t_ns // 1_000_000_000, nanosec=t_ns % 1_000_000_000)


def ns_of(stamp: Time) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _transform(parent: str, child: str, position: Any = (0.0, 0.0, 0.0),
               rotation: Any = (0.0, 0.0, 0.0, 1.0)) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = position
    turn.x, turn.y, turn.z, turn.w = rotation
    return message
