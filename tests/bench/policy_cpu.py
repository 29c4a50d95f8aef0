"""./dev bench policy, cpu_share_200hz: what the node itself costs, of one core.

The real node in a process of its own, 200 commands and 10 inferences a second, the AMR's network
behind a real Triton, one camera of 224x224 at 10 Hz, odometry at 40 Hz, all over the middleware.
Time is that of the process with all its threads (utime and stime of /proc/<pid>/stat). The robot
around it is this process; Triton is a third. The floor is an rclpy node that does nothing but
publish a TwistStamped 200 times a second, in the same run, before and after.
"""

import math
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from figures import ROOT
from geometry_msgs.msg import PoseStamped, TwistStamped
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.experimental import EventsExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from bringup.group import Group
from policy_client.desk_triton import DeskTriton

DOMAIN = 180
OUTPUT_HZ, INFERENCE_HZ = 200.0, 10.0
_SECONDS, _SECONDS_LONG, _SETTLE_S = 12.0, 120.0, 3.0
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
_STREAM = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_CONFIGURE, _ACTIVATE = 1, 3
_TIMEOUT_S = 30.0


_BARE = '''
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.experimental import EventsExecutor
rclpy.init()
node = rclpy.create_node('bare')
publisher = node.create_publisher(TwistStamped, 'bare/cmd_vel', 1)
timer = node.create_timer(1 / 200, lambda: publisher.publish(TwistStamped()))
executor = EventsExecutor()
executor.add_node(node)
executor.spin()
'''


class RigFailed(RuntimeError):
    """The node did not come up or did not drive; there is nothing to measure."""


class Robot:
    """The other end: sensors, task, goal and a reflex that lets the policy move."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node('robot', context=self._context)
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._changed = threading.Condition()
        self.status: dict[str, str] = {}
        self.commands = 0
        self._x = self._v = self._w = self._yaw = 0.0
        publisher, node = self._node.create_publisher, self._node
        self._odom = publisher(Odometry, 'odom', _STREAM)
        self._image = publisher(Image, 'camera/front/image_raw', _STREAM)
        self._safety = publisher(DiagnosticArray, 'safety/state', _LATCHED)
        self._task = publisher(String, 'task', _LATCHED)
        self._goal = publisher(PoseStamped, 'goal_pose', _LATCHED)
        node.create_subscription(TwistStamped, 'policy/cmd_vel', self._on_command, 1)
        node.create_subscription(TwistStamped, 'bare/cmd_vel', lambda message: None, 1)
        node.create_subscription(DiagnosticArray, 'policy/status', self._on_status, _LATCHED)
        self._get = node.create_client(GetState, 'policy_client/get_state')
        self._change = node.create_client(ChangeState, 'policy_client/change_state')
        node.create_timer(0.025, self._on_odometry)
        node.create_timer(0.1, self._on_camera)
        self._picture = Image(height=224, width=224, encoding='rgb8', step=672,
                              data=bytes([90]) * (224 * 672))
        goal = PoseStamped()
        goal.header.frame_id = 'odom'
        goal.pose.position.x = 500.0
        self._goal.publish(goal)
        self._task.publish(String(data='drive to the goal'))
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def bring_up(self) -> None:
        """Configure and activate the node, and wait until a server leads it."""
        limit = time.monotonic() + _TIMEOUT_S
        # A server that is discovered may not have discovered its client yet: ask until it answers.
        while self._call(self._get, GetState.Request(), 1.0) is None:
            if time.monotonic() > limit:
                raise RigFailed('the node does not answer')
        for transition in (_CONFIGURE, _ACTIVATE):
            request = ChangeState.Request()
            request.transition.id = transition
            answer = self._call(self._change, request, 10.0)
            if answer is None or not answer.success:
                raise RigFailed(f'transition {transition} failed')
        self.wait(lambda: self.status.get('state') == 'driving'
                  and self.status['source'].startswith('triton:'))

    def wait(self, condition: Any) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, _TIMEOUT_S):
                raise RigFailed(f'the node does not drive: {self.status}')

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self._context.ok():
                raise

    def _call(self, client: Any, request: Any, timeout_s: float) -> Any:
        if not client.wait_for_service(timeout_s):
            return None
        future, done = client.call_async(request), threading.Event()
        future.add_done_callback(lambda _: done.set())
        return future.result() if done.wait(timeout_s) else None

    def _on_odometry(self) -> None:
        self._x += 0.025 * self._v * math.cos(self._yaw)
        self._yaw += 0.025 * self._w
        message = Odometry()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = 'odom'
        message.pose.pose.position.x = self._x
        message.pose.pose.orientation.z = math.sin(self._yaw / 2)
        message.pose.pose.orientation.w = math.cos(self._yaw / 2)
        message.twist.twist.linear.x, message.twist.twist.angular.z = self._v, self._w
        self._odom.publish(message)

    def _on_camera(self) -> None:
        self._picture.header.stamp = self._node.get_clock().now().to_msg()
        self._image.publish(self._picture)
        status = DiagnosticStatus(name='safety_reflex', values=[
            KeyValue(key='state', value='RUNNING')])
        self._safety.publish(DiagnosticArray(status=[status]))

    def _on_command(self, message: TwistStamped) -> None:
        self.commands += 1
        self._v, self._w = message.twist.linear.x, message.twist.angular.z

    def _on_status(self, message: DiagnosticArray) -> None:
        with self._changed:
            self.status = {pair.key: pair.value for pair in message.status[0].values}
            self._changed.notify_all()


def run(*, long: bool) -> dict[str, Any]:
    """`cpu_share_200hz`, and what it was taken with."""
    seconds = _SECONDS_LONG if long else _SECONDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        server = stack.enter_context(DeskTriton(ROOT / 'docker/triton/model_repository'))
        group = stack.enter_context(client(server, folder))
        robot = Robot(DOMAIN)
        stack.callback(robot.close)
        robot.bring_up()
        floor = [bare_share(folder, seconds / 3)]
        pid = pid_of(group)
        time.sleep(_SETTLE_S)  # the first chunks load code and caches
        requests, commands = int(robot.status['requests']), robot.commands
        before, began = cpu_s(pid), time.monotonic()
        threads = threads_s(pid)
        time.sleep(seconds)
        spent, took = cpu_s(pid) - before, time.monotonic() - began
        by_thread = {name: round((used - threads.get(name, 0.0)) / took, 4)
                     for name, used in threads_s(pid).items()}
        sent, asked = robot.commands - commands, int(robot.status['requests']) - requests
        source = robot.status['source']
        floor.append(bare_share(folder, seconds / 3))
        return {
            'cpu_share_200hz': round(spent / took, 4),
            'cpu': {'target': 0.1, 'bare_publisher': floor, 'seconds': round(took, 1),
                    'commands_hz': round(sent / took, 1),
                    'inferences_hz': round(asked / took, 1),
                    'source': source,
                    'threads': dict(sorted(by_thread.items(), key=lambda item: -item[1])[:6])}}


def bare_share(folder: Path, seconds: float) -> float:
    """Of a core, what a node costs that only publishes."""
    with Group([sys.executable, '-c', _BARE], folder / 'bare.log',
               os.environ | {'ROS_DOMAIN_ID': str(DOMAIN), 'ROS_LOG_DIR': str(folder)}) as group:
        time.sleep(_SETTLE_S)
        pid = pid_of(group)
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(seconds)
        return round((cpu_s(pid) - before) / (time.monotonic() - began), 4)


def client(server: DeskTriton, folder: Path, output_hz: float = OUTPUT_HZ,
           prefix: tuple[str, ...] = ()) -> Group:
    """The node as a process of its own."""
    parameters = {
        'embodiment_file': ROOT / 'config/embodiments/amr.yaml',
        'endpoints': f"['desk={server.endpoint}']",
        'fallback_onnx': ROOT / 'docker/triton/model_repository/amr/1/model.onnx',
        'output_rate_hz': output_hz, 'inference_rate_hz': INFERENCE_HZ}
    arguments = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    return Group([*prefix, sys.executable, '-m', 'policy_client.node', '--ros-args', *arguments],
                 folder / 'client.log',
                 os.environ | {'ROS_DOMAIN_ID': str(DOMAIN), 'ROS_LOG_DIR': str(folder)})


def pid_of(group: Group) -> int:
    """The process whose output goes to the group's log."""
    for found in subprocess.run(['pgrep', '-P', str(os.getpid())], capture_output=True, text=True,
                                check=False).stdout.split():
        if os.path.realpath(f'/proc/{found}/fd/1') == str(group.log.resolve()):
            return int(found)
    raise RigFailed(f'no process writes to {group.log}: {group.tail(4)}')


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, proc(5)."""
    return _used(Path(f'/proc/{pid}/stat'))


def threads_s(pid: int) -> dict[str, float]:
    """Thread name -> time so far; those of one name together."""
    found: dict[str, float] = {}
    for task in Path(f'/proc/{pid}/task').iterdir():
        name = (task / 'comm').read_text().strip()
        found[name] = found.get(name, 0.0) + _used(task / 'stat')
    return found


def _used(stat: Path) -> float:
    fields = stat.read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
