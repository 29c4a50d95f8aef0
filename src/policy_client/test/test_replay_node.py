"""The real client with a real Triton over topics, recorded as a bag and replayed."""

import json
import os
import time
from functools import partial

import pytest
import test_node
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from policy_scene import CONFIG
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from replay_scene import write_bag
from sensor_msgs.msg import Image
from std_msgs.msg import String, UInt8MultiArray
from test_node import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    DESK,
    LATCHED,
    Robot,
    end,
    start_client,
)

from policy_client.replay.__main__ import main

VELOCITY = 'action.base_velocity'
_STREAM = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT,
                     durability=DurabilityPolicy.VOLATILE)
KINDS = {'policy/cmd_vel': (TwistStamped, 50), 'policy/exchange': (UInt8MultiArray, 50),
         'odom': (Odometry, _STREAM), 'camera/front/image_raw': (Image, _STREAM),
         'goal_pose': (PoseStamped, LATCHED), 'task': (String, LATCHED)}


class RecordedRobot(Robot):
    """Keeps what a recorder would: serialised messages with their time of reception."""

    def __init__(self):
        super().__init__()
        self.kept = []
        for topic, (kind, qos) in KINDS.items():
            self.node.create_subscription(kind, topic, partial(self._keep, topic), qos, raw=True)

    def _keep(self, topic, data):
        self.kept.append((time.time_ns(), topic, bytes(data)))


def asked(robot):
    """Exchanges of requests."""
    return sum(bool(one.inputs_crc32) for one in robot.exchanges)


@pytest.fixture(scope='module')
def bag(running_triton, root, model_onnx, tmp_path_factory):
    """A drive with a stop and a restart of the client in it, under the policy of a Triton."""
    patch = pytest.MonkeyPatch()
    patch.setattr(test_node, 'DOMAIN', 170 + os.getpid() % 10)
    robot = RecordedRobot()
    process = start_client(
        embodiment_file=root / 'config/embodiments/amr.yaml',
        endpoints=f"['desk={running_triton.endpoint}']", fallback_onnx=model_onnx)
    try:
        assert robot.change(CONFIGURE)
        assert robot.change(ACTIVATE)
        robot.send()
        robot.shows(state='driving', source=DESK)
        robot.wait(lambda: asked(robot) >= 30)
        robot.safety = 'STOPPED'
        robot.shows(state='neutral')
        robot.safety = 'RUNNING'
        robot.wait(lambda: asked(robot) >= 50)
        for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
            assert robot.change(transition)
        robot.wait(lambda: asked(robot) >= 70)
    finally:
        end(process)
        robot.close()
        patch.undo()
    path = tmp_path_factory.mktemp('bag') / 'drive.mcap'
    return write_bag(path, sorted(robot.kept, key=lambda entry: entry[0]))


def replayed(bag, tmp_path, *arguments):
    document = tmp_path / 'found.json'
    status = main([str(bag), '--embodiment', str(CONFIG / 'amr.yaml'), '--json', str(document),
                   *arguments])
    return status, json.loads(document.read_text())


def test_a_recorded_drive_is_replayed_bit_for_bit(bag, tmp_path):
    status, found = replayed(bag, tmp_path)
    commands = found['commands']['policy/cmd_vel']
    assert status == 0
    assert commands['equal'] > 100
    assert commands['different'] == 0
    assert len(found['begins']) == 2  # the client that was started anew has a queue of its own
    assert found['problems'] == found['unreadable'] == []
    for name in ('video.front', 'state.velocity', 'state.goal',
                 'annotation.human.task_description'):
        tally = found['observations'][name]
        assert tally['equal'] > 40
        assert tally['different'] == 0


def test_the_same_triton_says_the_same_again(bag, tmp_path, triton):
    status, found = replayed(bag, tmp_path, '--server', triton.endpoint, '--plot',
                             str(tmp_path / 'plot.png'))
    live = found['live']['keys'][VELOCITY]
    assert status == 0
    assert found['live']['failures'] == found['live']['refused'] == {}
    assert live['chunks'] > 40
    assert live['maximum'] <= 1e-6  # float32 on another day
    assert live['stream_maximum'] <= 1e-6
    assert (tmp_path / 'plot.png').stat().st_size > 1000
