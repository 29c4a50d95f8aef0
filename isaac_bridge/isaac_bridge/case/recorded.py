"""What a bag says of a drive: scans, poses, commands, task and goal. Nothing of ROS is needed."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_case_recorder.bag_messages import Bag, BagError, Heard

from ..robot import Robot

_SCAN, _ODOMETRY = 'sensor_msgs/msg/LaserScan', 'nav_msgs/msg/Odometry'
_MAX_SCANS = 40_000
_FEWEST = 10


class CaseError(ValueError):
    """No scenario can be made of a bag; the message names it and says what is missing."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Times in seconds since the first scan; frames `odom` and `base_link` (REP-105).

    scans (n, beams): metres, +inf where nothing was hit, NaN where nothing is known.
    poses (n, 3), speeds (n, 2): x, y, yaw and v, w of the robot at each scan.
    commands (m, 3): t, v, w of what the policy asked for. goal: x, y, or None.
    """

    times_s: NDArray[np.float64]
    scans: NDArray[np.float64]
    angles_rad: NDArray[np.float64]
    poses: NDArray[np.float64]
    speeds: NDArray[np.float64]
    commands: NDArray[np.float64]
    goal: tuple[float, float] | None
    instruction: str

    def sensors(self, robot: Robot) -> NDArray[np.float64]:
        """(n, 3): x, y, yaw of the lidar at each scan."""
        lx, ly, turn = robot.lidar.pose
        c, s = np.cos(self.poses[:, 2]), np.sin(self.poses[:, 2])
        return np.stack([self.poses[:, 0] + c * lx - s * ly, self.poses[:, 1] + s * lx + c * ly,
                         self.poses[:, 2] + turn], axis=1)


def read(bag: Path, robot: Robot) -> Recorded:
    """The case in a bag's folder or a .mcap file. Raises CaseError.

    Topics are found by their names' ends, whatever namespace the robot had.
    """
    wanted = {robot.lidar.topic: 'scan', 'odom': 'odom', 'goal_pose': 'goal', 'task': 'task',
              'policy/cmd_vel': 'command'}
    if not bag.exists():
        raise CaseError(f'{bag}: no such file or folder')
    heard: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in wanted.values()}
    try:
        names = {message.topic for message in Bag(bag).messages(())}
        topics = {name: kind for name in names for end, kind in wanted.items()
                  if name.strip('/') == end or name.endswith(f'/{end}')}
        for message in Bag(bag).messages(topics.keys()):
            if message.topic in topics and message.content is not None:
                heard[topics[message.topic]].append((_time_ns(message), message.content))
    except BagError as error:
        raise CaseError(str(error)) from None
    for kind, name in (('scan', robot.lidar.topic), ('odom', 'odom')):
        if not _FEWEST <= len(heard[kind]) <= _MAX_SCANS:
            raise CaseError(f'{bag}: {len(heard[kind])} messages on {name}: between {_FEWEST} and '
                            f'{_MAX_SCANS} are needed')
    return _recorded(heard, str(bag))


def _time_ns(message: Heard) -> int:
    """The stamp where a message has one: several that were late lie apart by it."""
    stamp = getattr(getattr(message.content, 'header', None), 'stamp', None)
    at_ns = 0 if stamp is None else int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return at_ns or message.log_ns


def _recorded(heard: dict[str, list[tuple[int, Any]]], name: str) -> Recorded:
    scans = sorted(heard['scan'], key=lambda one: one[0])
    beams = len(scans[0][1].ranges)
    scans = [(at_ns, scan) for at_ns, scan in scans if len(scan.ranges) == beams]
    begin_ns = scans[0][0]
    times = np.array([at_ns - begin_ns for at_ns, _ in scans]) * 1e-9
    first = scans[0][1]
    ranges = np.array([scan.ranges for _, scan in scans], np.float64)
    ranges[ranges <= first.range_min] = np.nan      # too close, by REP-117 -inf: no place is known
    ranges[ranges > first.range_max] = np.inf
    odometry = np.array([[(at_ns - begin_ns) * 1e-9, *_pose(message.pose.pose),
                          message.twist.twist.linear.x, message.twist.twist.angular.z]
                         for at_ns, message in sorted(heard['odom'], key=lambda one: one[0])])
    odometry = odometry[np.isfinite(odometry).all(axis=1)]
    if len(odometry) < _FEWEST:
        raise CaseError(f'{name}: its odometry is not finite')
    odometry[:, 3] = np.unwrap(odometry[:, 3])
    there = np.stack([np.interp(times, odometry[:, 0], odometry[:, i]) for i in range(1, 6)], 1)
    goals = [message.pose.position for _, message in heard['goal']]
    tasks = [str(message.data) for _, message in heard['task']]
    return Recorded(
        times_s=times, scans=ranges,
        angles_rad=first.angle_min + first.angle_increment * np.arange(beams),
        poses=there[:, :3], speeds=there[:, 3:],
        commands=np.array([[(at_ns - begin_ns) * 1e-9, message.twist.linear.x,
                            message.twist.angular.z] for at_ns, message in heard['command']],
                          np.float64).reshape(-1, 3),
        goal=(float(goals[-1].x), float(goals[-1].y)) if goals else None,
        instruction=tasks[-1] if tasks else '')


def _pose(pose: Any) -> tuple[float, float, float]:
    q = pose.orientation
    return (pose.position.x, pose.position.y,
            2.0 * math.atan2(q.z, q.w))         # a base turns about z alone
