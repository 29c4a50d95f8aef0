"""Commands of the robot into a world, and the stamps by which lock-step knows its answers."""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosidl_runtime_py.utilities import get_message
from std_msgs.msg import Bool
from trajectory_msgs.msg import JointTrajectory

from node_kit import ParameterError

from .. import messages
from ..drive import Enable
from ..world import World

COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
ANSWER = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_STAMP = {b'\x00\x01': struct.Struct('<iI'), b'\x00\x00': struct.Struct('>iI')}
Answered = Callable[[str, int], None]


class Intake:
    """Subscriptions. `answered(topic, stamp_ns)` is told of each message that answers a scan."""

    def __init__(self, node: Node, world: World, enable: Enable | None, answers: Sequence[str],
                 answered: Answered) -> None:
        """answers: cmd_vel, joint_trajectory, or '<topic> <package>/msg/<Type>' of anything that
        begins with a header. Raises ParameterError."""
        self._world, self._enable, self._answered = world, enable, answered
        self._log = node.get_logger()
        self._arm = world.robot.arm
        subscribe = node.create_subscription
        subscribe(TwistStamped, 'cmd_vel', self._on_command, COMMAND)
        own = ['cmd_vel']
        if self._arm is not None:
            subscribe(JointTrajectory, 'joint_trajectory', self._on_set_point, COMMAND)
            own.append('joint_trajectory')
        if enable is not None:
            subscribe(Bool, 'safety/enable', self._on_enable, COMMAND)
        for answer in answers:
            if answer not in own:
                topic, kind = _topic(answer, own)
                # Only its stamp is read, and best effort hears reliable publishers too.
                subscribe(kind, topic, partial(self._on_stamped, answer), ANSWER, raw=True)

    @property
    def guarded(self) -> bool:
        """Whether there is a second channel, whose permission may run out at any step."""
        return self._enable is not None

    def stopped(self) -> bool:
        """Whether the second channel forbids to move."""
        return self._enable is not None and not self._enable.holds(self._world.t_ns)

    def stop(self) -> None:
        self._world.command(0.0, 0.0)
        if self._arm is not None:
            self._world.hold_arm()

    def _on_command(self, message: TwistStamped) -> None:
        twist = message.twist
        try:
            self._world.command(twist.linear.x, twist.angular.z)
        except ValueError as problem:
            self._world.command(0.0, 0.0)
            self._log.error(f'cmd_vel: {problem}; the base stops', throttle_duration_sec=1.0)
        except RuntimeError:
            return      # no world is loaded, so there is nothing to command
        self._answered('cmd_vel', messages.ns_of(message.header.stamp))

    def _on_set_point(self, message: JointTrajectory) -> None:
        assert self._arm is not None
        try:
            if not self.stopped():
                self._world.command_arm(*messages.set_point(message, self._arm.names))
        except ValueError as problem:
            self._world.hold_arm()
            self._log.error(f'joint_trajectory: {problem}; the arm holds',
                            throttle_duration_sec=1.0)
        except RuntimeError:
            return
        self._answered('joint_trajectory', messages.ns_of(message.header.stamp))

    def _on_enable(self, message: Bool) -> None:
        assert self._enable is not None
        self._enable.heard(message.data, self._world.t_ns)

    def _on_stamped(self, answer: str, data: bytes) -> None:
        layout = _STAMP.get(bytes(data[:2]))
        if layout is not None and len(data) >= 12:
            seconds, nanoseconds = layout.unpack_from(data, 4)
            self._answered(answer, seconds * 1_000_000_000 + nanoseconds)


def _topic(answer: str, own: Sequence[str]) -> tuple[str, Any]:
    topic, _, kind = answer.partition(' ')
    try:
        message = get_message(kind)
        first = next(iter(message.get_fields_and_field_types().items()))
    except (ValueError, AttributeError, ModuleNotFoundError, StopIteration) as problem:
        raise ParameterError(
            f'parameter answers = {answer!r}: is none of {", ".join(own)}, nor a topic and a '
            "message type that is installed ('policy/cmd_vel geometry_msgs/msg/TwistStamped')"
        ) from problem
    if first != ('header', 'std_msgs/Header'):
        raise ParameterError(f'parameter answers = {answer!r}: {kind} begins with no header, so '
                             'nothing says what it answers')
    return topic, message
