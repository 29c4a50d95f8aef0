"""The ROS 2 front end of a world that runs freely: sensors out, commands in."""

import signal
import sys
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import Bool, String
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory

from node_kit import ParameterError, declare

from . import messages
from .drive import Enable
from .engines import open_world
from .pace import Pace
from .parameters import Parameters
from .robot import RobotError
from .scenario import ScenarioError
from .world import Frame, WorldError

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DIAGNOSTICS_S = 1.0


class World(Node):
    """Steps a world on the steady clock and publishes each instant under one stamp."""

    def __init__(self, **kwargs: Any) -> None:
        """Raises ParameterError, ScenarioError, RobotError or WorldError, one sentence each."""
        self._world: Any = None
        self._clock_out: Any = None
        super().__init__('world', **kwargs)
        try:
            self._start()
        except BaseException:
            self.destroy_node()
            raise

    def _start(self) -> None:
        settings = self._settings = declare(_Declarer(self), Parameters)
        for name in ('scenario_file', 'robot_file'):
            if not getattr(settings, name):
                raise ParameterError(f'parameter {name} is empty: give the path of a YAML file')
        noise = settings.lidar_noise_m
        self._world = open_world(
            settings.scenario_file, settings.robot_file, settings.seed,
            engine=settings.engine, camera=settings.camera,
            lidar_noise_m=None if noise < 0.0 else noise,
            odometry_error=settings.odometry_error)
        self._robot = self._world.robot
        self._steps_a_scan = self._period_steps(self._robot.lidar.rate_hz)
        if self._robot.camera is not None:
            self._steps_an_image = self._period_steps(self._robot.camera.rate_hz)
        self._pace = Pace(self._world.step_ns, settings.real_time_factor,
                          slack=self._steps_a_scan)
        self._enable = Enable(settings.enable_timeout_s)
        self._steps = 0
        self._contacts = 0
        self._touching = False
        self._open_topics()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = self._world.step_ns * 1e-9 / settings.real_time_factor
        self.create_timer(max(period_s, 0.001), self._go_on, clock=steady)
        self.create_timer(DIAGNOSTICS_S, self._diagnose, clock=steady)
        self.get_logger().info(
            f'{settings.scenario_file}, seed {settings.seed}, on {settings.engine}; '
            f'camera {"on" if self._world.has_camera else "off"}')

    def _period_steps(self, rate_hz: float) -> int:
        return max(1, round(1e9 / rate_hz / self._world.step_ns))

    def _open_topics(self) -> None:
        robot, publish = self._robot, self.create_publisher
        self._scan = messages.scan(robot.lidar)
        self._odometry = messages.odometry()
        self._joints = messages.joint_state(robot)
        self._transform = messages.base_transform()
        self._scan_out = publish(LaserScan, robot.lidar.topic, SENSOR)
        self._odometry_out = publish(Odometry, 'odom', SENSOR)
        self._joints_out = publish(JointState, 'joint_states', SENSOR)
        self._transform_out = publish(TFMessage, 'tf', 100)
        self._truth_out = publish(String, 'world/truth', 10)
        self._diagnostics_out = publish(DiagnosticArray, 'diagnostics', 10)
        self._static_out = publish(TFMessage, 'tf_static', LATCHED)
        self._static_out.publish(messages.sensor_transforms(robot))
        if self._settings.publish_clock and self._settings.stamp == 'world':
            self._clock_out = publish(ClockMessage, '/clock', 10)
        if self._world.has_camera:
            camera = f'camera/{robot.camera.name}'
            self._image = messages.image(robot.camera)
            self._camera_info = messages.camera_info(robot.camera)
            self._image_out = publish(Image, f'{camera}/image_raw', SENSOR)
            self._camera_info_out = publish(CameraInfo, f'{camera}/camera_info', SENSOR)
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_command, COMMAND)
        if robot.arm is not None:
            self.create_subscription(JointTrajectory, 'joint_trajectory', self._on_set_point,
                                     COMMAND)
        if self._settings.require_enable:
            self.create_subscription(Bool, 'safety/enable', self._on_enable, COMMAND)

    def _on_command(self, message: TwistStamped) -> None:
        twist = message.twist
        try:
            self._world.command(twist.linear.x, twist.angular.z)
        except ValueError as problem:
            self._world.command(0.0, 0.0)
            self.get_logger().error(f'cmd_vel: {problem}; the base stops',
                                    throttle_duration_sec=1.0)

    def _on_set_point(self, message: JointTrajectory) -> None:
        if self._stopped():
            return
        try:
            self._world.command_arm(*messages.set_point(message, self._robot.arm.names))
        except ValueError as problem:
            self._world.hold_arm()
            self.get_logger().error(f'joint_trajectory: {problem}; the arm holds',
                                    throttle_duration_sec=1.0)

    def _stopped(self) -> bool:
        """Whether the second channel forbids to move."""
        return self._settings.require_enable and not self._enable.holds(self._world.t_ns)

    def _on_enable(self, message: Bool) -> None:
        self._enable.heard(message.data, self._world.t_ns)

    def _go_on(self) -> None:
        """The steps that are due, up to the next scan: two scans never leave in one go."""
        to_scan = self._steps_a_scan - self._steps % self._steps_a_scan
        for _ in range(self._pace.due(time.monotonic_ns(), to_scan)):
            if self._stopped():
                self._world.command(0.0, 0.0)
                if self._robot.arm is not None:
                    self._world.hold_arm()
            self._world.step()
            self._steps += 1
            to_scan -= 1
        if to_scan == 0:
            try:
                self._publish()
            except RCLError:
                # A signal ends the context in another thread, even between two messages.
                if self.context.ok():
                    raise

    def _publish(self) -> None:
        """All of one instant under one stamp; the image last, as it takes longest to make."""
        frame = self._world.frame()
        stamp = messages.time_of(
            frame.t_ns if self._settings.stamp == 'world' else time.time_ns())
        if self._clock_out is not None:
            self._clock_out.publish(messages.clock(stamp))
        self._scan_out.publish(messages.fill_scan(self._scan, stamp, frame))
        self._odometry_out.publish(messages.fill_odometry(self._odometry, stamp, frame))
        self._joints_out.publish(messages.fill_joint_state(self._joints, stamp, frame))
        self._transform_out.publish(messages.fill_base_transform(self._transform, stamp, frame))
        self._truth_out.publish(messages.truth(frame, self._world.has_camera))
        self._count_contact(frame)
        if self._world.has_camera and self._steps % self._steps_an_image == 0:
            self._publish_image(stamp)

    def _publish_image(self, stamp: Any) -> None:
        pixels = self._world.frame(render=True).image
        self._image_out.publish(messages.fill_image(self._image, stamp, pixels))
        self._camera_info.header.stamp = stamp
        self._camera_info_out.publish(self._camera_info)

    def _count_contact(self, frame: Frame) -> None:
        touching = frame.contact >= 0
        if touching and not self._touching:
            self._contacts += 1
            self.get_logger().warning(
                f'contact with person {frame.contact} at t = {frame.t_ns * 1e-9:.3f} s, '
                f'robot at {frame.twist[0]:.2f} m/s')
        self._touching = touching

    def _diagnose(self) -> None:
        factor = self._pace.real_time_factor(time.monotonic_ns())
        wanted = self._settings.real_time_factor
        late = factor < 0.95 * wanted
        status = DiagnosticStatus(
            name='world', hardware_id=self._settings.engine,
            level=DiagnosticStatus.WARN if late else DiagnosticStatus.OK,
            message='slower than asked: the computer is late' if late else 'running')
        values = {'real_time_factor': f'{factor:.3f}', 'real_time_factor_wanted': f'{wanted:g}',
                  't_s': f'{self._world.t_ns * 1e-9:.3f}', 'contacts': str(self._contacts),
                  'camera': str(self._world.has_camera).lower()}
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = messages.time_of(self._world.t_ns)
        self._diagnostics_out.publish(message)

    def destroy_node(self) -> None:
        if self._world is not None:
            self._world.close()
        super().destroy_node()


class _Declarer:
    """Declares on a node; takes YAML's bare `camera: off`, which is a boolean, for the word."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def declare_parameter(self, name: str, default: Any, descriptor: Any) -> Parameter:
        declared = self._node.declare_parameter(name, default, descriptor)
        if name == 'camera' and isinstance(declared.value, bool):
            return Parameter(name, value='on' if declared.value else 'off')
        return declared


def main(args: list[str] | None = None) -> int:
    """Run the world until SIGINT or SIGTERM; 1 if it could not start."""
    # rclpy ends the context on a signal; a KeyboardInterrupt amid a callback would only be noise.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=args)
    node = None
    executor = EventsExecutor()
    try:
        node = World()
        executor.add_node(node)
        executor.spin()
    except (ParameterError, ScenarioError, RobotError, WorldError) as problem:
        print(f'world: {problem}', file=sys.stderr)
        return 1
    except Exception:
        # A signal has ended the context: whatever was under way fails, and that is all right.
        if rclpy.ok():
            raise
    finally:
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
