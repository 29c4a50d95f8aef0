"""A Pilot among servers and a network that do everything wrong, and a check of all that goes out.

Everything is drawn from one seed: times, stops, new tasks, restarts, replies that are late, twice,
reordered, foreign, of the wrong route or version, and contents that are no chunk at all. What may
run is judged by what this world did itself, never by what the pilot says of it.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from policy_scene import MS, VOCABULARY, changed, goal, image, model, odometry, task

from policy_client.chunks import Chunk
from policy_client.embodiment_file import parse
from policy_client.exchange import decode, encode
from policy_client.flights import Cancel, FlightSettings, Handshake, Infer, Times
from policy_client.handshake import ModelDescription, TensorSpec
from policy_client.observation import Sample
from policy_client.pilot import Handled, Pilot, PilotSettings
from policy_client.policies.base import Failure, Reply
from policy_client.policies.hold import HoldPolicy
from policy_client.routing import HOLD, RouterSettings

# The AMR with two joints: velocities and positions are held and limited in different ways.
ROBOT = parse(changed(action__arm={
    'interface': 'joints', 'topic': 'policy/joint_trajectory', 'meaning': 'absolute',
    'unit': 'rad', 'limits': {'max_velocity': 2.0, 'max_acceleration': 8.0, 'max_jerk': 100.0},
    'joints': {'pan': [-2.0, 1.5], 'lift': [-0.5, 1.0]}}))
BASE, ARM = 'action.base_velocity', 'action.arm'
HORIZON = 16
ROUTES = ('triton:near', 'triton:far', 'onnx', HOLD)
ENDPOINTS = frozenset(ROUTES[:2])
TOLERANCE = 0.05
DEADLINE_NS, SAFETY_TIMEOUT_NS = 80 * MS, 500 * MS
LOW = np.array([part.minimum for part in ROBOT.columns])
HIGH = np.array([part.maximum for part in ROBOT.columns])
RATE = np.array([part.max_rate for part in ROBOT.columns])
POSITIONAL = np.array(ROBOT.positional)
_LONGEST_STEP_S = 0.1
_MAILBOX = 60


def described(version: str) -> ModelDescription:
    known = model()
    video, *others = known.inputs
    return model(
        version=version,
        inputs=(TensorSpec(video.name, 'UINT8', (1, 1, 8, 8, 3)), *others),
        outputs=(*known.outputs, TensorSpec(ARM, 'FP32', (1, HORIZON, 2))),
        parameters={**known.parameters, 'modality_sha256': ROBOT.modality_sha256(
            VOCABULARY.sha256)})


def settings(max_age_ns: int) -> PilotSettings:
    return PilotSettings(
        max_age_ns=max_age_ns, blend_ns=150 * MS, goal_tolerance_m=0.3,
        safety_timeout_ns=SAFETY_TIMEOUT_NS, limit_tolerance=TOLERANCE, model_name='amr',
        flights=FlightSettings(deadline_ns=DEADLINE_NS, model_version='', strict=ENDPOINTS,
                               pinned=ENDPOINTS, router=RouterSettings(), hedge=True))


@dataclass
class _Sent:
    """What this world knows of one request."""
    job: Infer
    number: int          # of the issue, in order; a hedge has its ticket's
    observed_ns: int     # oldest part that grows old, by this world's own account
    good: list[np.ndarray] = field(default_factory=list)  # rows that came for it, as driven


class Chaos:
    """One seed's world. `run` raises AssertionError at the first thing that may not be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.max_age_ns = self.chance.choice((300, 1000)) * MS
        self.pilot = Pilot(ROBOT, VOCABULARY, ROUTES, settings(self.max_age_ns), 'test')
        self.logical_ns = self.steady_ns = 10_000_000 * MS
        self.seen: Counter[str] = Counter()
        self.deliveries = 0
        self._mood = dict.fromkeys(ROUTES, 1.0)
        self._version = dict.fromkeys(ROUTES, '1')
        self._sent: dict[str, _Sent] = {}
        self._mailbox: deque[Infer] = deque(maxlen=_MAILBOX)
        self._waiting: list[Infer] = []        # not answered by anything yet
        self._issued = self._barrier = 0
        self._latest = 0                       # number of the newest accepted ticket
        self._accepted: deque[str] = deque(maxlen=4 * _MAILBOX)
        self._leading: Chunk | None = None
        self._safety, self._said_ns = '', 0
        self._heard_ns: dict[str, int] = {}
        self._joints = np.array([0.2, 0.1])
        self._before: np.ndarray | None = None
        self._silent = False
        self._stepped_ns = self.logical_ns
        self._places = iter(range(10, 10**9))
        self._start()

    def run(self, deliveries: int) -> Counter[str]:
        """Until so many replies were delivered; what happened, counted."""
        while self.deliveries < deliveries:
            self._turn()
        return self.seen

    # What happens

    @property
    def _now(self) -> Times:
        return Times(self.logical_ns, self.steady_ns, self.steady_ns)

    @property
    def _free(self) -> bool:
        return (self._safety in ('RUNNING', 'SLOWED')
                and self.steady_ns - self._said_ns <= SAFETY_TIMEOUT_NS)

    def _start(self) -> None:
        self._say('task', task())
        self._say('goal_pose', goal(20.0, 0.0))
        self._told('RUNNING')

    def _turn(self) -> None:
        chance = self.chance
        often = chance.random
        late = chance.randrange(300, 1500) if often() < 0.004 else chance.randrange(1, 25)
        self.logical_ns += late * MS + chance.randrange(MS)
        self.steady_ns += late * MS
        if often() < 0.8:
            self._say('odom', odometry())
        if often() < 0.3:
            self._say('camera/front/image_raw', image(height=8, width=8))
        if often() < 0.8:
            self._say('joint_states', self._joint_state())
        if often() < 0.3:
            self._told('RUNNING')
        if often() < 0.05:
            self._rare()
        if often() < 0.5:
            self._do(self.pilot.plan(self._now))
            self._looked()
        if often() < 0.2:
            self._silent |= not self._free
            self._do(self.pilot.probes(self._now))
        due = self.pilot.hedge_due_ns
        if due is not None and self.steady_ns >= due:
            self._do(self.pilot.hedge(self._now))
        for _ in range(chance.randrange(4)):
            self._deliver()
        if often() < 0.8:
            self._step()

    def _rare(self) -> None:
        chance, what = self.chance, self.chance.random()
        if what < 0.12:
            self._told(chance.choice(('STOPPED', 'LATCHED', 'STARTING', '')))
        elif what < 0.16:
            self._say('task', task(chance.choice(('drive to the goal', 'wait here'))))
        elif what < 0.2:
            self._say('goal_pose', goal(float(next(self._places)), 0.0))
        elif what < 0.23:
            self.pilot.rest()
            self._stopped()
        elif what < 0.25:
            self.logical_ns -= 60_000 * MS  # the simulated world began anew
            self._heard_ns.clear()
            self._barrier = self._issued
            self._step()
            self.seen['restarts'] += 1
        elif what < 0.3:
            self.steady_ns += 3 * SAFETY_TIMEOUT_NS
            self.logical_ns += 3 * SAFETY_TIMEOUT_NS
        elif what < 0.35:
            route = chance.choice(ROUTES[:3])
            self._version[route] = str(int(self._version[route]) + 1)
        else:
            self._mood[chance.choice(ROUTES[:3])] = chance.choice((1.0, 0.9, 0.7, 0.4, 0.0))

    def _say(self, topic: str, message: Any) -> None:
        issued = self._issued
        stamp = None if topic == 'task' else self.steady_ns
        self._heard_ns[topic] = self.logical_ns
        if self.pilot.heard(topic, Sample(message, self.logical_ns, stamp)):
            if topic == 'task':
                self._barrier = issued  # no action of the old task under the new one
            self._do(self.pilot.plan(self._now))
            self._looked()

    def _told(self, state: str) -> None:
        if state not in ('RUNNING', 'SLOWED'):
            self.seen['stops'] += 1
        self._safety, self._said_ns = state, self.steady_ns
        if self.pilot.safety(state, self.steady_ns):
            self._do(self.pilot.plan(self._now))
        self._looked()

    def _joint_state(self) -> Any:
        return SimpleNamespace(name=['lift', 'pan'], position=self._joints[::-1].tolist(),
                               velocity=[], effort=[])

    def _do(self, jobs: tuple[Any, ...]) -> None:
        for job in jobs:
            if isinstance(job, Cancel):
                self.seen['cancelled'] += 1
            elif isinstance(job, Handshake):
                if job.route == HOLD:
                    self._do(self.pilot.handshaken(HOLD, HoldPolicy(ROBOT).handshake(1.0),
                                                   self._now))
                elif self.chance.random() < 0.1:
                    self.pilot.handshake_failed(job.route, 'nobody listens', self._now)
                else:
                    self._do(self.pilot.handshaken(
                        job.route, described(self._version[job.route]), self._now))
            else:
                self._remember(job)

    def _remember(self, job: Infer) -> None:
        request = job.request
        ticket = request.request_id.removesuffix('/hedge')
        if ticket != request.request_id:
            first = self._sent[ticket]
            self._sent[request.request_id] = _Sent(job, first.number, first.observed_ns)
            self.seen['hedges'] += 1
        else:
            observed = self._heard_ns.get('odom', 0)
            if request.inputs['video.front'].any():  # not masked
                observed = min(observed, self._heard_ns.get('camera/front/image_raw', 0))
            self._issued += not job.probe
            self._sent[request.request_id] = _Sent(job, self._issued, observed)
        while len(self._sent) > 20 * _MAILBOX:
            del self._sent[next(iter(self._sent))]
        self._mailbox.append(job)
        self._waiting = [*self._waiting[-9:], job]

    # Replies

    def _deliver(self) -> None:
        """One reply: mostly of a recent request, to its route; anything else as well."""
        if not self._mailbox:
            return
        chance = self.chance
        if self._waiting and chance.random() < 0.6:
            job = self._waiting.pop(chance.randrange(len(self._waiting)))
        else:  # whatever was asked lately, answered or not
            job = chance.choice(self._mailbox)
        request_id, route = job.request.request_id, job.route
        if chance.random() < 0.05:
            client, _, number = request_id.rpartition('/')
            request_id = chance.choice((f'other/{number}', f'{client}/{chance.randrange(99)}', '',
                                        f'{request_id}/hedge', request_id[:-1]))
        if chance.random() < 0.03:
            route = chance.choice(ROUTES[:3])
        reply, rows = self._reply(job, request_id, route)
        sent = self._sent.get(request_id)
        if sent and rows is not None and sent.job.route == route:
            sent.good.append(rows)
        self.deliveries += 1
        self._silent |= not self._free
        handled = self.pilot.replied(route, reply, self._now)
        if handled.chunk:
            self._took(handled.chunk, request_id, route, rows)
        self._heed(handled)

    def _heed(self, handled: Handled) -> None:
        self._do(handled.jobs)
        for found in handled.exchanges:
            self.seen[f'reply {found.outcome}'] += 1
            if self.chance.random() < 0.02:
                assert decode(encode(found)).outcome == found.outcome

    def _reply(self, job: Infer, request_id: str,
               route: str) -> tuple[Reply, np.ndarray | None]:
        """A reply, and the rows that it may lead to; None when it may lead to nothing."""
        if route == HOLD:
            held = HoldPolicy(ROBOT).infer(job.request).result()
            rows = np.concatenate([held.actions[BASE][0], held.actions[ARM][0]], axis=1)
            return Reply(request_id, held.actions, version='1'), np.clip(rows, LOW, HIGH)
        margin = TOLERANCE * (HIGH - LOW) * self.chance.choice((0.0, 0.0, 0.9))
        wanted = self.noise.uniform(LOW - margin, HIGH + margin, (HORIZON, 4)).astype(np.float32)
        actions = {BASE: wanted[None, :, :2].copy(), ARM: wanted[None, :, 2:].copy()}
        version = self._version[route]
        rows = np.clip(wanted.astype(float), LOW, HIGH)
        if self.chance.random() < self._mood[route]:
            if self.chance.random() < 0.1:
                actions['extra'] = np.zeros(3)
            return Reply(request_id, actions, version=version), rows
        if self.chance.random() < 0.4:
            return Reply(request_id, actions if self.chance.random() < 0.5 else {},
                         self.chance.choice(list(Failure)), 'as the seed says', version), None
        if self.chance.random() < 0.05:
            return Reply(request_id, actions, version='0'), None
        return Reply(request_id, broken(actions, self.chance), version=version), None

    # What may be

    def _took(self, chunk: Chunk, request_id: str, route: str, rows: np.ndarray | None) -> None:
        ticket = chunk.ticket.request_id
        assert request_id in self._sent, f'foreign: {request_id}'
        sent = self._sent[request_id]
        assert request_id.removesuffix('/hedge') == ticket
        assert not sent.job.probe
        assert (sent.job.route, chunk.source) == (route, route)
        assert rows is not None, f'no chunk for this robot: {ticket}'
        assert np.array_equal(chunk.rows, rows), f'other rows than came: {ticket}'
        assert ticket not in self._accepted, f'duplicate: {ticket}'
        assert self._free, 'in a stop'
        assert sent.number > self._barrier, f'of before a stop, task or restart: {ticket}'
        assert sent.number > self._latest, f'reordered: {ticket}'
        assert self.logical_ns - sent.observed_ns <= self.max_age_ns, f'stale: {ticket}'
        self._latest, self._leading = sent.number, chunk
        self._accepted.append(ticket)
        self.seen[f'chunk of {route}'] += 1
        self.seen['chunk of a hedge'] += request_id != ticket

    def _looked(self) -> None:
        if not self._free:
            self._stopped()

    def _stopped(self) -> None:
        """Nothing asked until now may run; joints start again from where they are."""
        self._barrier = self._issued
        self._silent = True

    def _step(self) -> None:
        step = self.pilot.step(self._now)
        self._looked()
        dt_s = min(max(0, self.logical_ns - self._stepped_ns) / 1e9, _LONGEST_STEP_S)
        before, action = self._before, step.action
        self._stepped_ns, self._before = self.logical_ns, action
        self.seen['steps'] += 1
        if not self._free:
            assert step.chunk is None
            assert action[:2].tolist() == [0.0, 0.0]
            assert np.isnan(action[2:]).all()
            self._joints = self.noise.uniform(LOW[2:], HIGH[2:])  # moved by hand meanwhile
            self._say('joint_states', self._joint_state())
            return
        if step.chunk is not None:
            self._may_run(step.chunk)
        known = ~np.isnan(action)
        assert (known | POSITIONAL).all()
        assert ((action >= LOW) & (action <= HIGH))[known].all(), f'{action} beyond the limits'
        if before is not None:
            seen = np.concatenate(([0, 0], self._joints))
            # After a stop joints start from where they are, even one between two outputs.
            start = np.where(np.isnan(before) | (POSITIONAL & self._silent), seen, before)
            near = np.abs(action - start) <= RATE * dt_s + 1e-9
            assert near[known].all(), f'{action - start} in {dt_s} s'
        self._silent = False

    def _may_run(self, chunk: Chunk) -> None:
        assert chunk is self._leading
        sent = self._sent[chunk.ticket.request_id]
        age = self.logical_ns - sent.observed_ns
        assert age <= self.max_age_ns, f'runs on an observation {age / MS} ms old'
        assert sent.number > self._barrier
        self.seen[f'steps of {chunk.source}'] += 1


def broken(actions: dict[str, np.ndarray], chance: random.Random) -> dict[str, np.ndarray]:
    """The same reply with something in it that makes it no chunk."""
    name = chance.choice((BASE, ARM))
    array = actions[name]
    kind = chance.randrange(9)
    if kind == 0:
        array[0, chance.randrange(HORIZON), chance.randrange(2)] = chance.choice(
            (np.nan, np.inf, -np.inf, 1e30, -3e38, 2.5))
    elif kind == 1:
        array = array[:, :chance.randrange(HORIZON)]
    elif kind == 2:
        array = np.repeat(array, chance.choice((2, 400)), axis=chance.randrange(3))
    elif kind == 3:
        array = array.astype(chance.choice((np.float64, np.float16, np.int64, bool, object, 'S8',
                                            '>f4')))
    elif kind == 4:
        array = chance.choice((array[0], array[..., None], array.transpose(0, 2, 1),
                               np.float32(0.1).reshape(()), array[:0]))
    elif kind == 5:
        return {key: value for key, value in actions.items() if key != name}
    elif kind == 6:
        return {f'{key}_': value for key, value in actions.items()}
    elif kind == 7:
        return {BASE: actions[ARM][:, :, :1], ARM: actions[BASE]}
    else:
        return {}
    return actions | {name: array}
