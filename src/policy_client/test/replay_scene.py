"""A World of test_pilot.py whose messages are ROS's own, and bags made of what happened in it."""

import copy
import json
from dataclasses import replace
from pathlib import Path

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from mcap.writer import Writer
from nav_msgs.msg import Odometry
from policy_scene import AMR, CONFIG, MS
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String, UInt8MultiArray
from test_pilot import CLOUD, ONNX, SETTINGS, STAMPS, World, fails, good

from policy_client import messages
from policy_client.exchange import encode
from policy_client.policies.base import Failure
from policy_client.replay.__main__ import main
from policy_client.replay.recording import Told

TYPES = {'policy/cmd_vel': 'geometry_msgs/msg/TwistStamped',
         'policy/exchange': 'std_msgs/msg/UInt8MultiArray', 'odom': 'nav_msgs/msg/Odometry',
         'goal_pose': 'geometry_msgs/msg/PoseStamped', 'task': 'std_msgs/msg/String',
         'camera/front/image_raw': 'sensor_msgs/msg/Image',
         'camera/webcam/image_raw': 'sensor_msgs/msg/Image',
         'joint_states': 'sensor_msgs/msg/JointState',
         'policy/joint_trajectory': 'trajectory_msgs/msg/JointTrajectory'}


class RosWorld(World):
    """Its camera shows another picture each time, and the robot drives."""

    def __init__(self, settings=SETTINGS):
        super().__init__(settings=settings)
        self.heard = []  # (received, topic, message)
        self.x = 0.0

    def say(self, topic, message):
        self.x += 0.001
        stamp = Time(sec=self.now_ns // 10**9, nanosec=self.now_ns % 10**9)
        if topic == 'task':
            message = String(data=message.data)
        elif topic == 'odom':
            v = message.twist.twist.linear.x
            message = Odometry()
            message.header.stamp, message.header.frame_id = stamp, 'odom'
            message.pose.pose.position.x, message.twist.twist.linear.x = self.x, v
        elif topic == 'goal_pose':
            x, y = message.pose.position.x, message.pose.position.y
            message = PoseStamped()
            message.header.stamp, message.header.frame_id = stamp, 'odom'
            message.pose.position.x, message.pose.position.y = x, y
        else:
            message = Image(height=240, width=320, encoding='bgr8', step=960,
                            data=bytes([self.now_ns // MS % 251]) * (240 * 960))
            message.header.stamp = stamp
        self.heard.append((self.now_ns, topic, copy.deepcopy(message)))
        super().say(topic, message)

    def commands(self):
        """(stamp, message) of policy/cmd_vel, as the node publishes them."""
        return [(at + STAMPS, messages.command(AMR, AMR.commands[0], step.action,
                                               messages.stamp_of(at + STAMPS), 33 * MS))
                for at, step in self.steps]

    def recorded(self):
        """All messages (log time, topic, message), as a recorder has them."""
        sent = [(stamp, 'policy/cmd_vel', message) for stamp, message in self.commands()]
        seen = [(at + STAMPS, topic, message) for at, topic, message in self.heard]
        return sorted([*seen, *sent, *told(self)], key=lambda entry: entry[0])


def told(world: World):
    """policy/exchange of a world: (log time, topic, message)."""
    return [(one.received_ns + STAMPS, 'policy/exchange', UInt8MultiArray(data=encode(one)))
            for one in world.exchanges]


def write_bag(path: Path, recorded, namespace: str = '/') -> Path:
    """An MCAP file as rosbag2 writes it, without definitions."""
    with path.open('wb') as stream:
        writer = Writer(stream)
        writer.start(profile='ros2', library='test')
        channels = {}
        for log_ns, topic, message in recorded:
            if topic not in channels:
                schema = writer.register_schema(TYPES[topic], '', b'')
                channels[topic] = writer.register_channel(f'{namespace}{topic}', 'cdr', schema)
            data = message if isinstance(message, bytes) else serialize_message(message)
            writer.add_message(channels[topic], log_ns, data, log_ns)
        writer.finish()
    return path


def driven() -> RosWorld:
    """A start, a fallback, nobody at all, a stop with a restart, a drive in a curve."""
    world = RosWorld().go().run(2500)
    world.answers[CLOUD] = fails(Failure.UNREACHABLE)
    world.run(900)
    world.answers[ONNX] = fails(Failure.MODEL_ERROR)
    world.run(1500)
    world.safety = 'STOPPED'
    world.run(300)
    world.safety, world.answers[CLOUD] = 'RUNNING', good(0.6, 0.2, after_ms=33)
    return world.run(3000)


def tampered(exchange, key: str, row: int, value: float):
    """The same exchange with another number in its reply, and a checksum that fits it."""
    array = exchange.actions[key].copy()
    array[0, row, 0] = value
    return replace(exchange, actions={**exchange.actions, key: array})


class Replayer:
    """Replays what a recorder has: (exit status, the JSON document or None, what was printed)."""

    def __init__(self, folder: Path, capsys):
        self._folder, self._capsys = folder, capsys

    def __call__(self, recorded, *arguments, namespace='/', bag=None):
        bag = bag or write_bag(self._folder / 'bag.mcap', recorded, namespace)
        document = self._folder / 'found.json'
        document.unlink(missing_ok=True)
        status = main([str(bag), '--embodiment', str(CONFIG / 'amr.yaml'), '--json', str(document),
                       *arguments])
        printed = self._capsys.readouterr()
        found = json.loads(document.read_text()) if document.exists() else None
        return status, found, printed.out + printed.err


def refusal(result):
    """The one sentence of a replay that could not be."""
    status, found, printed = result
    assert status == 2
    assert found is None
    assert printed.count('\n') == 1
    return printed


def exchanges_of(world: World):
    return [Told(one.received_ns, one) for one in world.exchanges]
