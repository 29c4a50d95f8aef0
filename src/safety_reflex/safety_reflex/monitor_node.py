"""safety_monitor: what people look at. An ordinary process that the reflex never waits for."""

from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from node_kit import declare
from node_kit.ending import spin_until_told
from safety_reflex.shapes import Polygon
from safety_reflex.parameters import MonitorParameters
from safety_reflex.profile import load_profile

_COLOURS = {'RUNNING': (0.2, 0.8, 0.3), 'SLOWED': (1.0, 0.75, 0.1), 'STOPPED': (0.9, 0.15, 0.15),
            'LATCHED': (0.6, 0.1, 0.7), 'STARTING': (0.6, 0.6, 0.6)}


class SafetyMonitor(Node):
    """Draws the footprint and the field set in use, in the colour of the state."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('safety_monitor', **kwargs)
        parameters = declare(self, MonitorParameters)
        self._frame_id = parameters.frame_id
        self._profile = load_profile(Path(parameters.robot_file), Path(parameters.fields_file))
        self._markers = self.create_publisher(
            MarkerArray, 'safety/markers',
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        self.create_subscription(
            DiagnosticArray, 'safety/state', self._on_state,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                       durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def _on_state(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        zone = values.get('zone', '')
        field = next((s for s in self._profile.sets if s.name == zone),
                     self._profile.sets[-1])
        colour = _COLOURS.get(values.get('state', ''), _COLOURS['STARTING'])
        self._markers.publish(MarkerArray(markers=[
            self._outline(0, 'footprint', self._profile.footprint, (0.3, 0.3, 0.3), message),
            self._outline(1, 'protective_field', field.polygon, colour, message)]))

    def _outline(self, number: int, name: str, polygon: Polygon,
                 colour: tuple[float, float, float], message: DiagnosticArray) -> Marker:
        marker = Marker(ns=name, id=number, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.frame_id = self._frame_id
        marker.header.stamp = message.header.stamp
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.03
        marker.color = ColorRGBA(r=colour[0], g=colour[1], b=colour[2], a=1.0)
        marker.points = [Point(x=x, y=y) for x, y in (*polygon, polygon[0])]
        return marker


def main() -> None:
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    spin_until_told(SafetyMonitor())
