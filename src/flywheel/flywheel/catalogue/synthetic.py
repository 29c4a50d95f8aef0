"""Manifests of a fleet that never was, for figures: as recorders write them, a bucket full."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_case_recorder import manifest

_CAUSES = ('protective_field', 'policy_fallback', 'policy_rejected', 'command_not_finite',
           'high_staleness', 'operator_mark', 'near_miss', 'estop')
_TOPICS = {'/tf_static': 'tf2_msgs/msg/TFMessage', '/goal_pose': 'geometry_msgs/msg/PoseStamped',
           '/task': 'std_msgs/msg/String', '/policy/status': 'diagnostic_msgs/msg/DiagnosticArray',
           '/safety/state': 'diagnostic_msgs/msg/DiagnosticArray',
           '/policy/cmd_vel': 'geometry_msgs/msg/TwistStamped',
           '/cmd_vel': 'geometry_msgs/msg/TwistStamped', '/scan': 'sensor_msgs/msg/LaserScan',
           '/odom': 'nav_msgs/msg/Odometry', '/joint_states': 'sensor_msgs/msg/JointState',
           '/tf': 'tf2_msgs/msg/TFMessage', '/camera/front/image_raw': 'sensor_msgs/msg/Image',
           '/policy/exchange': 'std_msgs/msg/UInt8MultiArray',
           '/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray'}
_BEGIN_NS = 1_790_000_000_000_000_000
_DAY_S = 86_400


def manifests(count: int, robots: int = 2000, days: int = 60,
              seed: int = 0) -> Iterator[dict[str, Any]]:
    """Valid manifests, spread over robots and days; the same seed gives the same ones."""
    random = np.random.default_rng(seed)
    for number in range(count):
        robot = f'amr-{int(random.integers(robots)):04d}'
        # The number makes stamps of one robot differ.
        second = int(random.integers(days * _DAY_S))
        stamp_ns = _BEGIN_NS + second * 1_000_000_000 + number
        cause = _CAUSES[int(random.integers(len(_CAUSES)))]
        yield _manifest(robot, stamp_ns, cause, random)


def fill(folder: Path, count: int, robots: int = 2000, days: int = 60, seed: int = 0) -> None:
    """Write them as a bucket's folder has them."""
    for content in manifests(count, robots, days, seed):
        place = folder / manifest.object_folder(content)
        place.mkdir(parents=True)
        (place / manifest.MANIFEST).write_text(json.dumps(content, indent=2) + '\n')


def _manifest(robot: str, stamp_ns: int, cause: str, random: np.random.Generator
              ) -> dict[str, Any]:
    case_id = manifest.case_id(robot, stamp_ns, cause)
    sizes = random.integers(10, 400, len(_TOPICS)).tolist()
    start_ns, end_ns = stamp_ns - 5 * 10**9, stamp_ns + 2 * 10**9
    return {
        'schema_version': 1, 'case_id': case_id, 'robot': {'id': robot, 'type': 'amr'},
        'cause': cause, 'reasons': [cause, 'warning_field'],
        'trigger': {'rule': 'safety_stop', 'source': 'safety_reflex', 'stamp_ns': stamp_ns,
                    'priority': int(random.integers(101)), 'values': {
                        'state': 'STOPPED', 'beam': str(int(random.integers(720))),
                        'distance_m': f'{random.uniform(0.2, 3.0):.3f}', 'zone': '0.60',
                        'source': 'base_scan', 'command_source': 'policy/cmd_vel'}},
        'window': {'start_ns': start_ns, 'end_ns': end_ns, 'recorded_start_ns': start_ns,
                   'recorded_end_ns': end_ns, 'truncated_by': '', 'complete': True},
        'versions': {'software': {'edge_case_recorder': '0.1.0', 'ros_distro': 'jazzy'},
                     'models': {'triton:amr': str(int(random.integers(1, 9)))}},
        'lineage': {'parents': []}, 'messages': sum(sizes), 'recovered': False,
        'topics': [{'name': name, 'type': kind, 'type_hash': '', 'has_definition': True,
                    'messages': size, 'bytes': size * 200, 'lost_in_ring': 0}
                   for (name, kind), size in zip(_TOPICS.items(), sizes, strict=True)],
        'files': [{'path': f'{case_id}_0.mcap', 'bytes': int(random.integers(10**6, 10**8)),
                   'sha256': random.bytes(32).hex(), 'crc32c': 'AAAAAA=='}]}
