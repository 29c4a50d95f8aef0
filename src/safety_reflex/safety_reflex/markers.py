"""What people see in RViz and Foxglove: safety/state and the profile as markers. No rclpy.

Every array says of every marker whether it is there: a lost message leaves nothing behind, and a
monitor that ends takes its markers with it.
"""

import math
from collections.abc import Iterable, Mapping

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from safety_reflex.profile import Profile
from safety_reflex.shapes import Polygon

Colour = tuple[float, float, float, float]
Place = tuple[float, float]

# Told apart on a dark and on a light ground, and (red from green) by their brightness too.
STATE_COLOURS: Mapping[str, Colour] = {
    'STARTING': (0.60, 0.60, 0.60, 1.0), 'RUNNING': (0.20, 0.80, 0.35, 1.0),
    'SLOWED': (1.00, 0.70, 0.05, 1.0), 'STOPPED': (1.00, 0.22, 0.20, 1.0),
    'LATCHED': (0.75, 0.25, 0.90, 1.0)}
SILENT = 'NO SAFETY STATE'
_SILENT_COLOUR: Colour = (1.0, 0.25, 0.80, 1.0)
_FOOTPRINT: Colour = (0.55, 0.60, 0.65, 1.0)
_SLOW: Colour = (1.0, 0.70, 0.05, 0.45)
_MUTING: Colour = (0.20, 0.55, 1.0, 1.0)
_POINT: Colour = (1.0, 0.30, 0.0, 1.0)
_LIFETIME = Duration(sec=1)   # ten states long
# Above the ground behind the field in use: it hides neither the robot nor what is in its way.
_TEXT_HEIGHT_M, _TEXT_ABOVE_M, _TEXT_BEHIND_M = 0.18, 0.8, 0.75
_MAX_REASONS = 4


def scene(values: Mapping[str, str], profile: Profile, frame_id: str, stamp: Time) -> MarkerArray:
    """All markers of one state. values: those of safety/state; empty when it fell silent."""
    state = values.get('state', '')
    field = next((s for s in profile.sets if state and s.name == values.get('zone')), None)
    muting = next((m for m in profile.mutings if state and m.name == values.get('muting')), None)
    place = deciding_point(values, profile)
    markers = [
        _outline('footprint', 0, profile.footprint, _FOOTPRINT, 0.03),
        _outline('stop_field', 0, field.polygon if field else None,
                 STATE_COLOURS.get(state, _SILENT_COLOUR), 0.05),
        *(_outline('slow_fields', number, slow.polygon if state else None, _SLOW, 0.01)
          for number, slow in enumerate(profile.slow)),
        _outline('muting', 0, muting.polygon if muting else None, _MUTING, 0.04),
        _sphere('deciding_point', place),
        _text('status', caption(values), _text_place(field.polygon if field else profile.footprint),
              STATE_COLOURS.get(state, _SILENT_COLOUR))]
    for marker in markers:
        marker.header.frame_id = frame_id
        marker.header.stamp = stamp
        marker.pose.orientation.w = 1.0
        marker.frame_locked = True   # it is where the robot is now, not where it was at the stamp
        marker.lifetime = _LIFETIME
    return MarkerArray(markers=markers)


def deciding_point(values: Mapping[str, str], profile: Profile) -> Place | None:
    """Where the beam that decided ended, x and y in base_link; None where none did."""
    lidar = next((one for one in profile.lidars if one.name == values.get('source')), None)
    try:
        beam, distance_m = int(values.get('beam', '')), float(values.get('distance_m', ''))
    except ValueError:
        return None
    if lidar is None or not (0 <= beam < lidar.beams and math.isfinite(distance_m)):
        return None
    x, y, yaw = lidar.pose
    angle = yaw + lidar.angle_min_rad + beam * lidar.angle_increment_rad
    return x + distance_m * math.cos(angle), y + distance_m * math.sin(angle)


def caption(values: Mapping[str, str]) -> str:
    """The state, its reasons (a few, and how many more), and what decided."""
    if not values.get('state'):
        return SILENT
    reasons = [reason for reason in values.get('reasons', '').split(',') if reason]
    lines = [values['state'], *reasons[:_MAX_REASONS]]
    if len(reasons) > _MAX_REASONS:
        lines.append(f'and {len(reasons) - _MAX_REASONS} more')
    if values.get('source') and values.get('distance_m'):
        lines.append(f'{values["source"]}: {values["distance_m"]} m')
    return '\n'.join(lines)


def _outline(namespace: str, number: int, polygon: Polygon | None, colour: Colour,
             width_m: float) -> Marker:
    marker = _marker(namespace, number, Marker.LINE_STRIP, polygon is not None, colour)
    marker.scale.x = width_m
    marker.points = _points((*polygon, polygon[0])) if polygon else []
    return marker


def _sphere(namespace: str, place: Place | None) -> Marker:
    marker = _marker(namespace, 0, Marker.SPHERE, place is not None, _POINT)
    marker.scale.x = marker.scale.y = marker.scale.z = 0.15
    if place is not None:
        marker.pose.position.x, marker.pose.position.y = place
    return marker


def _text(namespace: str, text: str, place: tuple[float, float, float], colour: Colour) -> Marker:
    marker = _marker(namespace, 0, Marker.TEXT_VIEW_FACING, True, colour)
    marker.text = text
    marker.scale.z = _TEXT_HEIGHT_M
    position = marker.pose.position
    position.x, position.y, position.z = place
    return marker


def _marker(namespace: str, number: int, kind: int, shown: bool, colour: Colour) -> Marker:
    red, green, blue, alpha = colour
    return Marker(ns=namespace, id=number, type=kind,
                  action=Marker.ADD if shown else Marker.DELETE,
                  color=ColorRGBA(r=red, g=green, b=blue, a=alpha))


def _points(polygon: Iterable[Place]) -> list[Point]:
    return [Point(x=x, y=y) for x, y in polygon]


def _text_place(shape: Polygon) -> tuple[float, float, float]:
    return min(x for x, _ in shape) - _TEXT_BEHIND_M, 0.0, _TEXT_ABOVE_M
