"""The director: watches the system over topics, tells the story, and keeps what a report needs.

It stands where an operator stands: it publishes the task and the goal, calls the reset service,
and plays the rogue. It never touches a wheel.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

from bringup.demo.story import Seen, Teller
from safety_reflex import cdr

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
EVENTS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
INSTRUCTION = 'drive to the goal'


@dataclass
class Log:
    """What was seen, for the report; every list grows at a topic's own rate for one short run."""

    truth: list[dict] = field(default_factory=list)
    asked: list[tuple[float, float]] = field(default_factory=list)      # s, m/s
    granted: list[tuple[float, float]] = field(default_factory=list)
    states: list[tuple[float, str, str, str]] = field(default_factory=list)  # s, state, why, zone
    sources: list[tuple[float, str]] = field(default_factory=list)
    cases: dict[str, dict] = field(default_factory=dict)
    policy: dict[str, str] = field(default_factory=dict)
    reflex: dict[str, str] = field(default_factory=dict)
    marks: list[tuple[float, str]] = field(default_factory=list)


def person_stops(log: Log) -> list[float]:
    """When the reflex was stopped with an object in the protective field, seconds; once a stop.

    The field shrinks with the speed, so an object may have left it again before the robot rests.
    """
    times: list[float] = []
    counted = False
    for t_s, state, reasons, _ in log.states:
        if state != 'STOPPED':
            counted = False
        elif not counted and 'protective_field' in reasons.split(','):
            times.append(t_s)
            counted = True
    return times


class Director(Node):
    """One thread spins it; `look` is called from another, which also does what takes time."""

    def __init__(self, goal: tuple[float, float], **kwargs: Any) -> None:
        super().__init__('director', **kwargs)
        self.log = Log()
        self._goal, self._started = goal, time.monotonic()
        self._lock = threading.Lock()
        self.verified: Callable[[], int] = lambda: 0
        self._task = self.create_publisher(String, 'task', LATCHED)
        self._goal_pose = self.create_publisher(PoseStamped, 'goal_pose', LATCHED)
        self._reset = self.create_client(Trigger, 'safety/reset')
        self._rogue: Publisher | None = None
        self._rogue_value = 0.0
        self._rogue_timer = self.create_timer(0.05, self._play_rogue)
        self._resetting = False
        self.create_timer(0.3, self._try_reset)
        self.create_subscription(DiagnosticArray, 'safety/state', self._on_safety, LATCHED)
        self.create_subscription(DiagnosticArray, 'policy/status', self._on_policy, LATCHED)
        self.create_subscription(String, 'world/truth', self._on_truth, 10)
        self.create_subscription(String, 'recorder/event', self._on_case, EVENTS)
        self.create_subscription(TwistStamped, 'policy/cmd_vel', self._on_asked, 1, raw=True)
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_granted, 10, raw=True)

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def look(self) -> Seen:
        with self._lock:
            log = self.log
            x, y, _, v, _ = log.truth[-1]['robot'] if log.truth else (0.0,) * 5
            state, why = log.states[-1][1:3] if log.states else ('', '')
            return Seen(
                t_s=self.seconds(), state=state, reasons=frozenset(filter(None, why.split(','))),
                person_stops=len(person_stops(log)),
                policy_state=log.policy.get('state', ''),
                policy_source=log.policy.get('source', ''),
                rejected_chunks=int(log.policy.get('rejected_chunks', 0)),
                reject_reason=log.policy.get('reject_reason', ''),
                x_m=x, y_m=y, speed_mps=abs(v),
                goal_m=math.hypot(x - self._goal[0], y - self._goal[1]) if log.truth else math.inf,
                cases=len(log.cases), cases_verified=self.verified())

    def act(self, action: str) -> None:
        """The actions of the story that are messages; the servers' are the caller's."""
        with self._lock:
            self.log.marks.append((self.seconds(), action))
        if action in ('reset', 'clear_and_reset'):
            self._stop_rogue()
            self._resetting = True
        elif action == 'task':
            self._send_task()
        elif action == 'rogue_nan':
            self._start_rogue(math.nan)
        elif action == 'rogue_over_limit':
            self._start_rogue(5.0)

    def _send_task(self) -> None:
        goal = PoseStamped()
        goal.header.frame_id = 'odom'
        goal.pose.position.x, goal.pose.position.y = self._goal
        goal.pose.orientation.w = 1.0
        self._goal_pose.publish(goal)
        self._task.publish(String(data=INSTRUCTION))

    def _try_reset(self) -> None:
        """An operator presses until it is granted: a cause may still be fading."""
        if not self._resetting or not self._reset.service_is_ready():
            return
        if self.log.states and self.log.states[-1][1] != 'LATCHED':
            self._resetting = False
            return
        self._reset.call_async(Trigger.Request())

    def _start_rogue(self, value: float) -> None:
        self._rogue_value = value
        self._rogue = self.create_publisher(TwistStamped, 'policy/cmd_vel', 1)

    def _stop_rogue(self) -> None:
        if self._rogue is not None:
            rogue, self._rogue = self._rogue, None
            self.destroy_publisher(rogue)

    def _play_rogue(self) -> None:
        rogue = self._rogue
        if rogue is None:
            return
        command = TwistStamped()
        command.header.stamp = self.get_clock().now().to_msg()
        command.twist.linear.x = self._rogue_value
        rogue.publish(command)

    def _on_safety(self, message: DiagnosticArray) -> None:
        values = _values(message)
        with self._lock:
            self.log.reflex = values
            self.log.states.append((self.seconds(), values['state'], values['reasons'],
                                    values['zone']))

    def _on_policy(self, message: DiagnosticArray) -> None:
        values = _values(message)
        with self._lock:
            self.log.policy = values
            self.log.sources.append((self.seconds(), values.get('source', '')))

    def _on_truth(self, message: String) -> None:
        row = json.loads(message.data)
        row['t_s'] = self.seconds()
        with self._lock:
            self.log.truth.append(row)

    def _on_case(self, message: String) -> None:
        manifest = json.loads(message.data)
        with self._lock:
            self.log.cases[manifest['case_id']] = manifest

    def _on_asked(self, data: bytes) -> None:
        speed = cdr.read_twist_stamped(data).v_mps
        self.log.asked.append((self.seconds(), speed))

    def _on_granted(self, data: bytes) -> None:
        self.log.granted.append((self.seconds(), cdr.read_twist_stamped(data).v_mps))


def tell(director: Director, teller: Teller, perform: Callable[[str], None],
         show: Callable[[Teller, Seen], None], alive: Callable[[], str | None]) -> str | None:
    """Look twenty times a second until the story is over; returns what broke it, if anything.

    perform(action) does what the director cannot; alive() names a process that has died.
    """
    while not teller.finished:
        seen = director.look()
        action = teller.look(seen)
        if action:
            director.act(action)
            perform(action)
        show(teller, seen)
        dead = alive()
        if dead:
            return dead
        time.sleep(0.05)
    return None


def _values(message: DiagnosticArray) -> dict[str, str]:
    return {pair.key: pair.value for pair in message.status[0].values}
