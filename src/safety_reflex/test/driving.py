"""A robot on a plane for the reflex without ROS: real bytes in, a kinematic base behind it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool

from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.reflex import Reflex
from safety_reflex.times import Instant

CONFIG = Path(__file__).resolve().parents[3] / 'config'
PROFILE = load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml')
MS = 1_000_000
TRUE = serialize_message(Bool(data=True))
PERIOD_MS = 25


class Bench:
    """A robot at x, y, yaw, an optional person (a disc of 0.2 m), scans every 25 ms.

    Fields are meant to be changed between steps: person, wish (v, w), scan_change, teleop, and
    silent, the scanners that have fallen silent.
    """

    def __init__(self, profile=PROFILE, speed_cap_mps=None, **settings):
        chosen = ReflexParameters(require_enable=False).settings()
        self.lidars = profile.lidars
        self.silent = set()
        self.reflex = Reflex(profile, replace(chosen, **settings), speed_cap_mps=speed_cap_mps)
        self.now_ns, self.x, self.y, self.yaw, self.v, self.w = 1_000 * MS, 0.0, 0.0, 0.0, 0.0, 0.0
        self.rng = np.random.default_rng(3)
        self.person = None
        self.wish, self.teleop = (0.8, 0.0), None
        self.scan_change = lambda scan: scan
        self.measured = lambda v, w: (v, w)
        self.glimpsed = None

    @property
    def at(self):
        return Instant(self.now_ns, self.now_ns)

    @property
    def state(self):
        return self.reflex.machine.state

    @property
    def status(self):
        return self.reflex.status(self.now_ns)

    @property
    def reasons(self):
        return self.status['reasons'].split(',')

    def stamp(self):
        return Time(sec=self.now_ns // 10 ** 9, nanosec=self.now_ns % 10 ** 9)

    def scan(self, lidar):
        x, y, yaw = lidar.pose
        angles = yaw + lidar.angle_min_rad + lidar.angle_increment_rad * np.arange(lidar.beams)
        ranges = 8 + self.rng.normal(0, 0.01, lidar.beams)
        if self.person is not None:
            dx, dy = np.subtract(self.seen(self.person), (x, y))
            along = dx * np.cos(angles) + dy * np.sin(angles)
            across = np.abs(-dx * np.sin(angles) + dy * np.cos(angles))
            hit = (along > 0) & (across < 0.2)
            ranges[hit] = along[hit] - np.sqrt(0.04 - across[hit] ** 2)
        message = LaserScan(
            angle_min=lidar.angle_min_rad, angle_increment=lidar.angle_increment_rad,
            range_min=0.05, range_max=20.0, ranges=ranges.astype(np.float32))
        message.header.stamp = self.stamp()
        return serialize_message(self.scan_change(message))

    def seen(self, point):
        """A point of the world as the robot sees it."""
        dx, dy = point[0] - self.x, point[1] - self.y
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return c * dx + s * dy, c * dy - s * dx

    def twist(self, wish):
        message = TwistStamped()
        message.header.stamp = self.stamp()
        message.twist.linear.x, message.twist.angular.z = map(float, wish)
        return message

    def send(self, message, *, teleop=False):
        self.reflex.on_command(serialize_message(message), self.at, teleop=teleop)

    def press(self, topic, value):
        self.reflex.estops[topic].take(serialize_message(Bool(data=value)), self.now_ns)

    def step(self, *, scan=True, command=True, odometry=True):
        self.now_ns += PERIOD_MS * MS
        if odometry:
            message = Odometry()
            message.header.stamp = self.stamp()
            (message.twist.twist.linear.x,
             message.twist.twist.angular.z) = map(float, self.measured(self.v, self.w))
            self.reflex.odometry.take(serialize_message(message), self.at)
        if command:
            free = self.reflex.machine.may_move
            self.send(self.twist(self.wish if free else (0.0, 0.0)))
        if self.teleop is not None:
            self.send(self.twist(self.teleop), teleop=True)
        for index, lidar in enumerate(self.lidars if scan else ()):
            if index not in self.silent:
                data = self.scan(lidar)
                self.glimpsed = self.reflex.glimpse(index, data, self.now_ns)
                self.reflex.on_scan(index, data, self.at)
        _, self.v, self.w = self.reflex.decide(self.at)
        self.x += self.v * math.cos(self.yaw) * PERIOD_MS / 1000
        self.y += self.v * math.sin(self.yaw) * PERIOD_MS / 1000
        self.yaw += self.w * PERIOD_MS / 1000
        return self.state

    def steps(self, seconds, **kind):
        for _ in range(round(seconds * 1000 / PERIOD_MS)):
            self.step(**kind)
        return self.state

    def reset(self):
        return self.reflex.reset(self.at)

    def started(self, speed=0.8, turn=0.0):
        self.steps(0.2)
        granted, sentence = self.reset()
        assert granted, sentence
        self.wish = (speed, turn)
        self.steps(3.0)
        assert self.reflex.machine.may_move
        return self


def drawn():
    """A robot with drawn fields, a debounce of two scans, and a dock that it may mute."""
    return Bench(load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr_dock.fields.yaml'))
