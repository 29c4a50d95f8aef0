"""The reflex and the world in one process on simulated time: thousands of seconds in one.

The scans go through the real bytes, so everything but the middleware is the robot's own code.
"""

from dataclasses import dataclass, field
from pathlib import Path

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from isaac_bridge.engines import open_world
from isaac_bridge.oracle import Contact, Row, contacts
from isaac_bridge.visibility import sight_of
from isaac_bridge.world import World
from safety_reflex.parameters import ReflexParameters
from safety_reflex.profile import load_profile
from safety_reflex.reflex import Reflex
from safety_reflex.states import State
from safety_reflex.times import Instant

CONFIG = Path(__file__).resolve().parents[1] / 'config'
PROFILE = load_profile(CONFIG / 'robots/amr.yaml', CONFIG / 'robots/amr.fields.yaml')
SCAN_NS = 25_000_000


@dataclass
class Drive:
    """What one drive along the aisle showed."""

    arrived: bool = False
    seconds: float = 0.0
    stops: int = 0
    contacts: list[Contact] = field(default_factory=list)
    min_gap_moving_m: float = float('inf')


def open_aisle(scenario: str = 'aisle.yaml') -> World:
    return open_world(CONFIG / 'scenarios' / scenario, CONFIG / 'robots/amr.yaml', camera='off')


def drive(world: World, seed: int, speed_mps: float = 0.8, limit_s: float = 120.0,
          delay_scans: int = 1) -> Drive:
    """Drive towards the goal at one speed, people permitting.

    delay_scans: how many scan periods a command takes to reach the base.
    """
    world.reset(seed)
    settings = ReflexParameters(require_enable=False).settings()
    reflex, shown, rows = Reflex(PROFILE, settings), Drive(), []
    goal_x = world.scenario.goal[0]
    pending = [(0.0, 0.0)] * delay_scans
    before = State.STARTING
    for step in range(round(limit_s * 1e9 / SCAN_NS)):
        frame = world.frame()
        rows.append(Row.of(frame.truth(False)))
        _tell(reflex, frame, speed_mps if reflex.machine.may_move else 0.0)
        if step == 10:
            reflex.reset(Instant(frame.t_ns, frame.t_ns))
        _, v, w = reflex.decide(Instant(frame.t_ns, frame.t_ns))
        state = reflex.machine.state
        shown.stops += state is State.STOPPED and before is not State.STOPPED
        before = state
        if frame.twist[0] > 0.05:
            shown.min_gap_moving_m = min(shown.min_gap_moving_m, frame.clearance_m)
        pending.append((v, w))
        world.command(*pending.pop(0))
        world.step(SCAN_NS // world.step_ns)
        if frame.robot[0] > goal_x:
            shown.arrived = True
            break
    shown.seconds = step * SCAN_NS / 1e9
    shown.contacts = contacts(rows, world.robot, sight_of(world.scenario, world.robot))
    return shown


def _tell(reflex: Reflex, frame, wish_mps: float) -> None:
    stamp = Time(sec=frame.t_ns // 10 ** 9, nanosec=frame.t_ns % 10 ** 9)
    lidar = PROFILE.lidars[0]
    scan = LaserScan(angle_min=lidar.angle_min_rad, angle_increment=lidar.angle_increment_rad,
                     range_min=0.05, range_max=20.0, ranges=frame.ranges)
    odometry, command = Odometry(), TwistStamped()
    for message in (scan, odometry, command):
        message.header.stamp = stamp
    odometry.twist.twist.linear.x, odometry.twist.twist.angular.z = frame.odometry.twist
    command.twist.linear.x = wish_mps
    at = Instant(frame.t_ns, frame.t_ns)
    reflex.odometry.take(serialize_message(odometry), at)
    reflex.on_command(serialize_message(command), at)
    reflex.on_scan(0, serialize_message(scan), at)
