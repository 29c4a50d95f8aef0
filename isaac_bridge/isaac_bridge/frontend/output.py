"""Sensors, transforms, truth and the clock of a world on their topics, each instant one stamp."""

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import CameraInfo, Image, JointState, LaserScan
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from .. import messages
from ..robot import Robot
from ..world import Frame

SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# In lock-step nothing may be lost, or nobody answers it; who listens best effort still hears it.
LOCKSTEP_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Output:
    """The publishers, and their messages, made once and refilled."""

    def __init__(self, node: Node, robot: Robot, *, camera: bool, clock: bool,
                 lockstep: bool) -> None:
        sensor = LOCKSTEP_SENSOR if lockstep else SENSOR
        publish = node.create_publisher
        self._scan = messages.scan(robot.lidar)
        self._odometry = messages.odometry()
        self._joints = messages.joint_state(robot)
        self._transform = messages.base_transform()
        self._scan_out = publish(LaserScan, robot.lidar.topic, sensor)
        self._odometry_out = publish(Odometry, 'odom', sensor)
        self._joints_out = publish(JointState, 'joint_states', sensor)
        self._transform_out = publish(TFMessage, 'tf', 100)
        self._truth_out = publish(String, 'world/truth', 10)
        self._diagnostics_out = publish(DiagnosticArray, 'diagnostics', 10)
        self._static_out = publish(TFMessage, 'tf_static', LATCHED)
        self._static_out.publish(messages.sensor_transforms(robot))
        self._clock_out = publish(ClockMessage, '/clock', 10) if clock else None
        self._camera = camera
        if camera:
            assert robot.camera is not None
            topic = f'camera/{robot.camera.name}'
            self._image = messages.image(robot.camera)
            self._camera_info = messages.camera_info(robot.camera)
            self._image_out = publish(Image, f'{topic}/image_raw', sensor)
            self._camera_info_out = publish(CameraInfo, f'{topic}/camera_info', sensor)

    def clock(self, stamp: Any) -> None:
        if self._clock_out is not None:
            self._clock_out.publish(messages.clock(stamp))

    def sensors(self, stamp: Any, frame: Frame) -> None:
        """The scan first: rendering and JSON delay none."""
        self._scan_out.publish(messages.fill_scan(self._scan, stamp, frame))
        self._odometry_out.publish(messages.fill_odometry(self._odometry, stamp, frame))
        self._joints_out.publish(messages.fill_joint_state(self._joints, stamp, frame))
        self._transform_out.publish(messages.fill_base_transform(self._transform, stamp, frame))
        self._truth_out.publish(messages.truth(frame, self._camera))

    def image(self, stamp: Any, frame: Frame) -> None:
        assert frame.image is not None
        self._image_out.publish(messages.fill_image(self._image, stamp, frame.image))
        self._camera_info.header.stamp = stamp
        self._camera_info_out.publish(self._camera_info)

    def diagnostics(self, stamp: Any, engine: str, level: bytes, sentence: str,
                    values: dict[str, str]) -> None:
        status = DiagnosticStatus(name='world', hardware_id=engine, level=level, message=sentence)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = stamp
        self._diagnostics_out.publish(message)
