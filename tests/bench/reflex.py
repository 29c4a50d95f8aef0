"""./dev bench reflex: from a scan to its command, beside a bare echo, interleaved in one run.

Three processes over the middleware: this one publishes each scan to the reflex and, half a period
later, to the echo, and hears both answers. `compute_us` is the reflex's own work on the same bytes
without middleware, at the same pace, so with caches as cold as the row's.
"""

import math
import multiprocessing
import os
import struct
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from figures import ROOT, distribution
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.experimental import EventsExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from bringup.group import Group
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.realtime import prepare
from safety_reflex.reflex import Reflex

DOMAIN = '95'
SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
FIELDS = ROOT / 'config/robots/amr.fields.yaml'


def run(*, long: bool) -> dict[str, Any]:
    os.environ['ROS_DOMAIN_ID'] = DOMAIN
    rows = [row for beams in (720, 1440) for row in _rows(beams, long)]
    return {'rows': rows, 'watchdog_ms': {'kill': None, 'sigstop': None},
            'stream_gap_ms_max': None}


def _rows(beams: int, long: bool) -> list[dict[str, Any]]:
    """Both rates, idle and busy, with one pair of peers."""
    found = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        robot = _robot(beams, folder)
        env = os.environ | {'ROS_LOG_DIR': str(folder)}
        stack.enter_context(Group(
            ['ros2', 'run', 'safety_reflex', 'safety_reflex', '--ros-args',
             '-p', f'robot_file:={robot}', '-p', f'fields_file:={FIELDS}', '-r', '__ns:=/a'],
            folder / 'reflex.log', env))
        stack.enter_context(Group(
            [sys.executable, str(Path(__file__).with_name('echo_peer.py')), '--ros-args', '-r',
             '__ns:=/b'], folder / 'echo.log', env))
        for hogs in (False, True):
            if hogs:
                for _ in range(os.cpu_count() or 1):
                    hog = multiprocessing.get_context('spawn').Process(target=_hog, daemon=True)
                    hog.start()
                    stack.callback(hog.kill)
            for rate_hz in (40, 500):
                scans = 20_000 if long else {40: 120, 500: 1200}[rate_hz]
                answers, missed = _measure(beams, rate_hz, scans)
                compute = _compute(robot, beams, rate_hz, 2000 if long else 300)
                found.append({
                    'rate_hz': rate_hz, 'beams': beams, 'rt': os.geteuid() == 0, 'hogs': hogs,
                    'stop_us': distribution(answers['/a']), 'floor_us': distribution(answers['/b']),
                    'c_us': None, 'compute_us': distribution(compute), 'missed': missed})
    return found


def _measure(beams: int, rate_hz: int, scans: int) -> tuple[dict[str, list[float]], int]:
    """Latencies of both peers in microseconds, and how many scans nobody answered."""
    prepare(60, -1, required=False)
    rclpy.init()
    node = rclpy.create_node('bench')
    sent: dict[str, dict[int, int]] = {'/a': {}, '/b': {}}
    answers: dict[str, list[float]] = {'/a': [], '/b': []}
    pending = _scans(beams)
    count = {'/a': 0, '/b': 0}
    publishers = {peer: node.create_publisher(LaserScan, f'{peer}/scan', SENSOR) for peer in sent}
    odometry = node.create_publisher(Odometry, '/a/odom', SENSOR)
    wheels = serialize_message(Odometry())

    def hear(peer: str, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        stamp = struct.unpack_from('<iI', data, 4)
        begin_ns = sent[peer].pop(stamp[0] * 1_000_000_000 + stamp[1], None)
        if begin_ns is not None:
            answers[peer].append((now_ns - begin_ns) / 1000)

    for peer in sent:
        node.create_subscription(TwistStamped, f'{peer}/cmd_vel',
                                 lambda data, peer=peer: hear(peer, data), 10, raw=True)
    turn = 0

    def tick() -> None:
        nonlocal turn
        peer = ('/a', '/b')[turn % 2]
        if peer == '/a':
            odometry.publish(wheels)
        turn += 1
        count[peer] += 1
        stamp_ns = time.time_ns()
        data = pending[turn // 2 % len(pending)]
        message = data[:4] + struct.pack('<iI', *divmod(stamp_ns, 1_000_000_000)) + data[12:]
        sent[peer][stamp_ns] = time.perf_counter_ns()
        publishers[peer].publish(message)

    executor = EventsExecutor()
    executor.add_node(node)
    timer = node.create_timer(0.5 / rate_hz, tick)
    _spin_until(executor, lambda: min(map(len, answers.values())) > 20, 30.0)
    for values in (*answers.values(), *sent.values()):
        values.clear()
    count['/a'] = count['/b'] = 0
    _spin_until(executor, lambda: count['/b'] >= scans, 5 * scans / rate_hz + 10)
    timer.cancel()
    _spin_until(executor, lambda: False, 0.2)
    missed = sum(map(len, sent.values()))
    node.destroy_node()
    rclpy.shutdown()
    prepare(0, -1, required=False)
    return answers, missed


def _spin_until(executor: EventsExecutor, done: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        executor.spin_once(timeout_sec=0.05)


def _compute(robot: Path, beams: int, rate_hz: int, scans: int) -> list[float]:
    """on_scan plus decide on the bytes of a scan, microseconds, paced like the row."""
    reflex = Reflex(load_profile(robot, FIELDS), ReflexParameters().settings())
    pending, found = _scans(beams), []
    for index in range(scans):
        now_ns = time.monotonic_ns()
        data = pending[index % len(pending)]
        begin = time.perf_counter_ns()
        reflex.on_scan(0, data, now_ns)
        reflex.decide(now_ns, now_ns)
        found.append((time.perf_counter_ns() - begin) / 1000)
        time.sleep(1 / max(rate_hz, 200))
    return found


def _scans(beams: int) -> list[bytes]:
    random, step = np.random.default_rng(1), 2 * math.pi / beams
    return [serialize_message(LaserScan(
        angle_min=-math.pi, angle_increment=step, range_min=0.05, range_max=20.0,
        ranges=(6 + random.normal(0, 0.01, beams)).astype(np.float32))) for _ in range(16)]


def _robot(beams: int, folder: Path) -> Path:
    robot = yaml.safe_load((ROOT / 'config/robots/amr.yaml').read_text())
    robot['lidars'][0] |= {'beams': beams, 'angle_min_rad': -math.pi,
                           'angle_max_rad': math.pi - 2 * math.pi / beams}
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(robot))
    return path


def _hog() -> None:
    while True:
        pass
