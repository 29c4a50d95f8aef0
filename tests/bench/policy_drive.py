"""A robot driven by the real Pilot as the node drives it, with any clock and any policies.

Odometry comes at 40 Hz, the camera at 10 Hz, safety/state at 10 Hz. What is executed is judged by
when this robot said what the observation holds, not by what the Pilot says of it.
"""

import random
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml
from figures import ROOT
from policy_loop import MS, Loop

from policy_client.flights import Cancel, FlightSettings, Handshake, Infer, Job, Times
from policy_client.observation import Sample
from policy_client.parameters import ONNX, Parameters
from policy_client.pilot import Pilot, PilotSettings
from policy_client.policies.base import Policy, PolicyUnavailable, Reply
from policy_client.routing import HOLD, RouterSettings

sys.path[:0] = [str(ROOT / 'src/policy_client/test')]

from policy_scene import AMR, VOCABULARY, goal, image, odometry, task  # noqa: E402

ENDPOINT = 'triton:cloud'
_ODOM_NS, _CAMERA_NS, _SAFETY_NS, _HEALTH_NS = 25 * MS, 100 * MS, 100 * MS, 50 * MS
_RECORD_NS = 200 * MS
_HANDSHAKE_S = 1.0


@dataclass(frozen=True)
class Target:
    """What of a target's settings counts here; milliseconds and Hz."""
    name: str
    deadline_ms: float
    inference_rate_hz: float
    output_rate_hz: float
    max_age_ms: float
    blend_ms: float


def target(name: str) -> Target:
    """The settings of config/targets/<name>.yaml: over common.yaml's, over the node's defaults."""
    chosen: dict[str, Any] = {}
    for file in ('common', name):
        document = yaml.safe_load((ROOT / f'config/targets/{file}.yaml').read_text())
        chosen |= document['nodes'].get('policy_client', {}).get('parameters', {})
    defaults = Parameters()
    return Target(name, *(float(chosen.get(key, getattr(defaults, key))) for key in (
        'deadline_ms', 'inference_rate_hz', 'output_rate_hz', 'max_age_ms', 'blend_ms')))


@dataclass(frozen=True)
class Tick:
    """One command: whose chunk it stems from (HOLD: none), and how old the observation is."""
    at_ns: int
    source: str
    age_ns: int


@dataclass(frozen=True)
class Asked:
    """One inference of an endpoint, from the request to its chunk; None where none came of it."""
    at_ns: int
    took_ns: int | None


class Drive:
    """`ticks` and `asked` grow while the loop runs."""

    def __init__(self, loop: Loop, policies: Mapping[str, Policy], chosen: Target, *,
                 hedge: bool = False, camera_side: int = 8, seed: int = 0) -> None:
        """policies: by route, best first, `hold` last. seed: of when each timer begins."""
        phase = random.Random(seed)
        self._loop, self._policies, self._camera_side = loop, policies, camera_side
        self.pilot = Pilot(AMR, VOCABULARY, list(policies), _settings(chosen, hedge), 'bench')
        self.ticks: list[Tick] = []
        self.asked: list[Asked] = []
        self.on_tick: Callable[[Tick], None] | None = None
        self._observed: dict[str, int] = {}
        self._open: dict[str, tuple[int, int]] = {}  # asked at, requests that are on their way
        self._heard: dict[str, int] = {}
        self._ended = False
        self._say('task', task(), None)
        self._say('goal_pose', goal(20.0, 0.0), loop.now_ns)
        for period, act in ((_ODOM_NS, self._odometry), (_CAMERA_NS, self._camera),
                            (_SAFETY_NS, self._safety), (_HEALTH_NS, self._health),
                            (round(1e9 / chosen.inference_rate_hz), self._plan),
                            (round(1e9 / chosen.output_rate_hz), self._step),
                            (_RECORD_NS, self._record)):
            self._every(period, act, loop.now_ns + round(phase.random() * period))

    def end(self) -> None:
        """Nothing is done any more, whatever the loop still holds."""
        self._ended = True

    @property
    def now(self) -> Times:
        now = self._loop.now_ns
        return Times(now, now, now)

    def _every(self, period_ns: int, act: Callable[[], None], due_ns: int) -> None:
        def run() -> None:
            if not self._ended:
                act()
                # A tick that came too late is left out, as a timer of rclpy does it.
                following = max(due_ns + period_ns,
                                due_ns + (self._loop.now_ns - due_ns) // period_ns * period_ns)
                self._every(period_ns, act, following)
        self._loop.at(due_ns, run)

    def _say(self, topic: str, message: Any, stamp_ns: int | None) -> None:
        now = self.now
        self._heard[topic] = now.logical_ns
        if self.pilot.heard(topic, Sample(message, now.logical_ns, stamp_ns)):
            self._do(self.pilot.plan(now))

    def _odometry(self) -> None:
        self._say('odom', odometry(), self._loop.now_ns)

    def _camera(self) -> None:
        side = self._camera_side
        self._say('camera/front/image_raw', image(height=side, width=side), self._loop.now_ns)

    def _safety(self) -> None:
        if self.pilot.safety('RUNNING', self._loop.now_ns):
            self._do(self.pilot.plan(self.now))

    def _health(self) -> None:
        self._do(self.pilot.probes(self.now))

    def _plan(self) -> None:
        self._do(self.pilot.plan(self.now))

    def _record(self) -> None:
        self.pilot.records(self.now)

    def _hedge(self) -> None:
        if not self._ended:
            self._do(self.pilot.hedge(self.now))

    def _step(self) -> None:
        now = self.now
        step = self.pilot.step(now)
        source, age = HOLD, 0
        if step.chunk is not None and step.chunk.source != HOLD:
            source = step.chunk.source
            age = now.logical_ns - self._observed[step.chunk.ticket.request_id]
        tick = Tick(now.logical_ns, source, age)
        self.ticks.append(tick)
        if self.on_tick:
            self.on_tick(tick)

    def _do(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            policy = self._policies[job.route]
            if isinstance(job, Handshake):
                self._loop.work(policy.handshake, _HANDSHAKE_S).add_done_callback(
                    partial(self._later, self._handshaken, job.route))
            elif isinstance(job, Cancel):
                policy.cancel(job.request_id)
            else:
                self._note(job)
                policy.infer(job.request).add_done_callback(
                    partial(self._later, self._replied, job.route))
        due = self.pilot.hedge_due_ns
        if due is not None:
            self._loop.at(due, self._hedge)

    def _note(self, job: Infer) -> None:
        request_id, now = job.request.request_id, self._loop.now_ns
        ticket = request_id.removesuffix('/hedge')
        if ticket != request_id and ticket in self._open:
            at_ns, left = self._open[ticket]
            self._open[ticket] = at_ns, left + 1
        if job.probe or ticket != request_id:
            return
        live = job.request.inputs['video.front'].any()
        self._observed[request_id] = min(self._heard['odom'],
                                         self._heard['camera/front/image_raw'] if live else now)
        if job.route not in (ONNX, HOLD):
            self._open[request_id] = now, 1

    def _later(self, act: Callable[..., None], route: str, future: 'Future[Any]') -> None:
        def run() -> None:
            if not self._ended:
                act(route, future)
        self._loop.post(run)

    def _handshaken(self, route: str, future: 'Future[Any]') -> None:
        try:
            self._do(self.pilot.handshaken(route, future.result(), self.now))
        except PolicyUnavailable as error:
            self.pilot.handshake_failed(route, str(error), self.now)

    def _replied(self, route: str, future: 'Future[Reply]') -> None:
        reply, now = future.result(), self.now
        handled = self.pilot.replied(route, reply, now)
        ticket = reply.request_id.removesuffix('/hedge')
        if ticket in self._open:
            at_ns, left = self._open.pop(ticket)
            if handled.chunk is not None:
                self.asked.append(Asked(at_ns, now.steady_ns - at_ns))
            elif left == 1:
                self.asked.append(Asked(at_ns, None))
            else:
                self._open[ticket] = at_ns, left - 1
        self._do(handled.jobs)


def _settings(chosen: Target, hedge: bool) -> PilotSettings:
    defaults = Parameters()

    def ns(milliseconds: float) -> int:
        return round(milliseconds * MS)

    interval = ns(defaults.probe_interval_ms)
    endpoints = frozenset({ENDPOINT, f'{ENDPOINT}_2'})
    return PilotSettings(
        max_age_ns=ns(chosen.max_age_ms), blend_ns=ns(chosen.blend_ms),
        goal_tolerance_m=defaults.goal_tolerance_m,
        safety_timeout_ns=ns(defaults.safety_timeout_ms),
        limit_tolerance=defaults.limit_tolerance, model_name='amr',
        flights=FlightSettings(
            ns(chosen.deadline_ms), '', endpoints, endpoints,
            RouterSettings(defaults.failures_to_open, defaults.probes_to_close, interval,
                           4 * interval), hedge))
