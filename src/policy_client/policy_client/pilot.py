"""The client without ROS and without a network: what is asked, what is believed, what goes out.

The node tells a Pilot what happened (a message, a reply, a handshake, a tick) and does what it
returns (jobs for policies, a command, records to publish). Nothing here waits, and time is an
argument, so the same object runs on a robot, in a test with a virtual clock, and in a replay.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from policy_client.chunks import ActionQueue, Chunk, QueueSettings, Step, Ticket
from policy_client.embodiment import Embodiment
from policy_client.exchange import Exchange, inputs_crc32
from policy_client.handshake import HandshakeError, ModelDescription, Signature, compare
from policy_client.observation import (
    Lacking,
    Observation,
    Sample,
    Tensors,
    assemble,
    blank,
    pick,
)
from policy_client.policies.base import Failure, Reply, Request
from policy_client.reply import FAULTS, ChunkRejected, checked
from policy_client.routing import Router, RouterSettings
from policy_client.situation import Situation
from policy_client.vocabulary import Vocabulary

HOLD = 'hold'
# Beyond its deadline a reply is given up by the policy itself; a policy that forgets is found here.
_GRACE_NS = 100_000_000
_HANDSHAKE_NS = 5_000_000_000
_TICKS = 512
_RESTING = ('starting', 'neutral', 'no_task', 'no_goal', 'arrived')
# Time that runs back so far is a world that began anew, not two clocks that differ a little.
_RESTART_NS = 500_000_000


class Times(NamedTuple):
    """logical_ns: ages, chunks (the world's time in simulation); steady_ns: deadlines, health."""
    logical_ns: int
    steady_ns: int


@dataclass(frozen=True)
class PilotSettings:
    deadline_ns: int
    max_age_ns: int
    blend_ns: int
    goal_tolerance_m: float
    safety_timeout_ns: int
    limit_tolerance: float
    model_name: str
    model_version: str
    # Routes that must publish whose model they serve; an ONNX file chosen by path need not.
    strict_routes: frozenset[str]
    pinned_routes: frozenset[str]
    router: RouterSettings


@dataclass(frozen=True)
class Handshake:
    """Job: ask the route's policy to describe itself, then call handshaken or handshake_failed."""
    route: str


@dataclass(frozen=True)
class Infer:
    """Job: send the request to the route's policy, then call replied."""
    route: str
    request: Request
    probe: bool


Job = Handshake | Infer


@dataclass(frozen=True)
class Handled:
    """What a reply led to."""
    jobs: tuple[Job, ...] = ()
    chunk: Chunk | None = None
    stamp_ns: int = 0                 # ROS stamp of the chunk's observation
    exchange: Exchange | None = None


@dataclass
class _Flight:
    """A request on its way."""
    route: str
    ticket: Ticket | None  # None: a probe
    observation: Observation | None
    sent: Times
    inputs_crc32: Mapping[str, int]


@dataclass
class _Counters:
    requests: int = 0
    replies: int = 0
    rejected: int = 0
    fallback_ns: int = 0


class Pilot:
    """Not thread-safe: the node calls it under one lock."""

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary, routes: Sequence[str],
                 settings: PilotSettings, client_id: str) -> None:
        """routes: names of the policies, best first; `hold` is the one that only holds."""
        self._embodiment, self._vocabulary, self._settings = embodiment, vocabulary, settings
        self._router = Router(routes, settings.router)
        self._queue = ActionQueue(QueueSettings(
            embodiment.action_period_ns, settings.max_age_ns, settings.blend_ns,
            tuple(part.max_rate for part in embodiment.action.components)), client_id)
        self._signatures: dict[str, Signature] = {}
        self._handshaking: dict[str, int] = {}
        self._flights: dict[str, _Flight] = {}
        self._leading: str | None = None  # request id of the lead's request in flight
        self._probes = 0
        self._client_id = client_id
        self._samples: dict[str, Sample] = {}
        self._last_inputs: Tensors | None = None
        self._situation = Situation(embodiment, settings.safety_timeout_ns,
                                    settings.goal_tolerance_m)
        self._mode, self._why = 'starting', ''
        self._lacking: Lacking | None = None  # of the last time that an observation was wanted
        self._camera = 'none'
        self._count = _Counters()
        self._rejected: ChunkRejected | None = None
        self._rejected_route = ''
        self._step: Step | None = None
        self._stepped_ns = 0
        self._ticks: deque[tuple[int, int]] = deque(maxlen=_TICKS)

    # What happened

    def heard(self, topic: str, sample: Sample) -> bool:
        """Keep the newest message of a topic; True when it calls for an inference at once."""
        before = self._samples.get(topic)
        self._samples[topic] = sample
        if topic == self._embodiment.language.topic:
            field = self._embodiment.language.field
            changed = before is None or pick(before.message, field) != pick(sample.message, field)
            if changed:
                self._drop()  # no action of the old task under the new one
                self._situation.new_task()
            return changed
        return self._embodiment.goal is not None and topic == self._embodiment.goal.topic

    def safety(self, state: str, steady_ns: int) -> bool:
        """Take the reflex's state; True when it calls for an inference at once."""
        return self._situation.safety(state, steady_ns)

    def handshaken(self, route: str, model: ModelDescription, now: Times) -> tuple[Job, ...]:
        """Compare a route's model with the embodiment; a probe follows when it fits."""
        strict = route in self._settings.strict_routes
        try:
            signature = compare(self._embodiment, self._vocabulary, model,
                                parameters_required=strict,
                                version=self._settings.model_version
                                if route in self._settings.pinned_routes else '')
        except HandshakeError as error:
            self.handshake_failed(route, f'refused: {error}', now)
            return ()
        self._handshaking.pop(route, None)
        self._signatures[route] = signature
        return (self._probe(route, now),)

    def handshake_failed(self, route: str, reason: str, now: Times) -> None:
        self._handshaking.pop(route, None)
        self._router.failed(route, now.steady_ns, reason, probe=True, final=True)

    def replied(self, route: str, reply: Reply, now: Times) -> Handled:
        """Judge a reply: a chunk that leads, a fallback to ask at once, a record of it."""
        flight = self._flights.pop(reply.request_id, None)
        if flight is None or flight.route != route:
            return Handled()  # given up before, or never asked
        if self._leading == reply.request_id:
            self._leading = None
        self._look(now)  # a stop since the last tick ends the epoch before the reply is judged
        self._count.replies += reply.failure is None and route != HOLD
        chunk, reason, detail, fault = self._judge(flight, reply, now)
        if reason == 'accepted' or not fault:
            self._router.succeeded(route, now.steady_ns, probe=flight.ticket is None)
            jobs: tuple[Job, ...] = ()
        else:
            jobs = self._fault(flight, reason, detail, now)
        observation = flight.observation
        exchange = self._exchange(flight, reply, reason, detail, now) if flight.ticket else None
        return Handled(jobs, chunk, observation.stamp_ns if observation and chunk else 0, exchange)

    def rest(self) -> None:
        """Forget chunks and requests: the node stops commanding."""
        self._drop()

    # What is asked

    def plan(self, now: Times) -> tuple[Job, ...]:
        """The inference that is due now, from the route that leads, unless one is in flight."""
        jobs = self._give_up(now)
        self._look(now)
        if self._mode in _RESTING or self._leading:
            return jobs
        route = self._router.lead()
        return (*jobs, *self._ask(route, now))

    def probes(self, now: Times) -> tuple[Job, ...]:
        """What open routes are asked in the background, whatever the robot does."""
        jobs: list[Job] = list(self._give_up(now))
        for route in self._router.due(now.steady_ns):
            if route in self._signatures:
                jobs.append(self._probe(route, now))
            else:
                self._handshaking[route] = now.steady_ns
                jobs.append(Handshake(route))
        return tuple(jobs)

    # What goes out

    def step(self, now: Times) -> Step:
        """The action for this tick: the policy's, a hold, or neutral."""
        self._look(now)
        neutral = self._mode == 'neutral'
        queue, logical = self._queue, now.logical_ns
        if logical < self._stepped_ns - _RESTART_NS:
            self._drop()
            self._samples = {topic: sample for topic, sample in self._samples.items()
                             if self._embodiment.topics[topic][1]}
        before = self._step
        step = queue.neutral(logical) if neutral else queue.step(logical)
        if before and before.chunk and before.chunk.source not in (self._router.names[0], HOLD):
            self._count.fallback_ns += min(max(0, logical - self._stepped_ns), 1_000_000_000)
        self._step, self._stepped_ns = step, logical
        self._ticks.append((logical, queue.executed_ns if step.chunk else -1))
        return step

    def status(self, now: Times) -> dict[str, str]:
        """The values of policy/status, as docs and README name them."""
        step, lead = self._step, self._router.lead()
        source = step.chunk.source if step and step.chunk else HOLD
        signature = self._signatures.get(source if source != HOLD else lead or '')
        return {
            'state': self._mode,
            'why': self._why,
            'source': source,
            'requests': str(self._count.requests),
            'replies': str(self._count.replies),
            'rejected_chunks': str(self._count.rejected),
            'reject_reason': self._rejected.reason if self._rejected else '',
            'reject_detail': f'{self._rejected_route}: {self._rejected.detail}'
                             if self._rejected else '',
            'fallback_s': f'{self._count.fallback_ns / 1e9:.2f}',
            'staleness_ms': f'{step.age_ns / 1e6:.0f}' if step and step.chunk else '0',
            'queue': str(self._queue.remaining(now.logical_ns)),
            'epoch': str(self._queue.epoch),
            'model': self._settings.model_name,
            'version': signature.version if signature else '',
            'runs_on': signature.runs_on if signature else '',
            'camera': self._camera,
            'routes': ','.join(f'{name}:{"closed" if self._router.is_closed(name) else "open"}'
                               for name in self._router.names),
            'route_errors': '; '.join(f'{name}: {self._router.error(name)}'
                                      for name in self._router.names if self._router.error(name)),
        }

    # How it is decided

    def _look(self, now: Times) -> None:
        """Decide the mode; on the way into a stop, a wait or the goal, the chunks are dropped."""
        mode, why = self._decided(now)
        if mode in _RESTING and mode != self._mode:
            self._drop()
        self._mode, self._why = mode, why

    def _drop(self) -> None:
        self._queue.drop()
        self._leading = None  # its reply belongs to an epoch that is over
        self._lacking = None

    def _decided(self, now: Times) -> tuple[str, str]:
        resting = self._situation.resting(self._samples, *now)
        if resting:
            return resting
        lead = self._router.lead()
        chunk = self._queue.chunk
        if chunk and chunk.source != HOLD and self._queue.remaining(now.logical_ns):
            return 'driving', str(self._lacking or '')
        if lead is None or lead == HOLD:
            return 'no_policy', 'no route answers'
        if self._lacking:
            return 'no_observation', str(self._lacking)
        return 'waiting', f'for a chunk of {lead}'

    def _ask(self, route: str | None, now: Times) -> tuple[Job, ...]:
        if route is None or route not in self._signatures:
            return ()
        if route == HOLD and self._queue.remaining(now.logical_ns):
            return ()  # what was planned in good health is better than a stop
        observation = assemble(self._embodiment, self._vocabulary, self._signatures[route],
                               self._samples, now.logical_ns)
        if isinstance(observation, Lacking):
            self._lacking = observation
            return ()
        self._lacking = None
        if self._embodiment.video:
            self._camera = 'masked' if observation.masked else 'live'
        if route != HOLD:
            self._last_inputs = observation.inputs
            self._count.requests += 1
        ticket = self._queue.issue(observation.observed_ns, now.logical_ns)
        self._leading = ticket.request_id
        self._flights[ticket.request_id] = _Flight(route, ticket, observation, now,
                                                   inputs_crc32(observation.inputs))
        return (Infer(route, Request(ticket.request_id, observation.inputs,
                                     self._settings.deadline_ns), probe=False),)

    def _probe(self, route: str, now: Times) -> Infer:
        self._probes += 1
        request_id = f'{self._client_id}/probe/{self._probes}'
        signature = self._signatures[route]
        inputs = blank(self._embodiment, signature)
        if self._last_inputs and all(inputs[name].shape == array.shape
                                     for name, array in self._last_inputs.items()):
            inputs = self._last_inputs
        self._flights[request_id] = _Flight(route, None, None, now, {})
        if route != HOLD:
            self._count.requests += 1
        return Infer(route, Request(request_id, inputs, self._settings.deadline_ns), probe=True)

    def _judge(self, flight: _Flight, reply: Reply,
               now: Times) -> tuple[Chunk | None, str, str, bool]:
        """(chunk, outcome, detail, whether the route is to blame)."""
        ticket = flight.ticket
        if reply.failure is not None:
            if ticket:
                self._queue.close(ticket.request_id)
            return None, str(reply.failure), reply.detail, True
        signature = self._signatures.get(flight.route)
        try:
            if signature is None:
                raise ChunkRejected('epoch', 'the handshake with its route is void')
            if reply.version != signature.version:
                raise ChunkRejected('version', f'the reply is of version {reply.version}, the '
                                               f'handshake was with {signature.version}')
            rows = checked(reply.actions, self._embodiment.action, signature.horizon,
                           self._settings.limit_tolerance)
            if ticket is None:
                return None, 'accepted', '', False
            closed = self._queue.close(ticket.request_id)
            chunk = self._queue.adopt(closed, rows, flight.route, now.logical_ns)
            return chunk, 'accepted', '', False
        except ChunkRejected as rejected:
            fault = rejected.reason in FAULTS
            if fault:
                self._count.rejected += 1
                self._rejected, self._rejected_route = rejected, flight.route
            return None, rejected.reason, rejected.detail, fault

    def _fault(self, flight: _Flight, reason: str, detail: str, now: Times) -> tuple[Job, ...]:
        """Count it against the route; when it led, the next one is asked at once."""
        final = reason == 'version' or (reason in tuple(Failure) and Failure(reason).final)
        self._router.failed(flight.route, now.steady_ns, f'{reason}: {detail}',
                            probe=flight.ticket is None, final=final)
        if final:
            self._signatures.pop(flight.route, None)
        late = flight.ticket is None or flight.ticket.epoch != self._queue.epoch
        if late or self._leading:
            return ()
        return self._ask(self._router.after(flight.route), now)

    def _give_up(self, now: Times) -> tuple[Job, ...]:
        """Requests and handshakes whose policy never came back, so that nothing waits for ever."""
        jobs: list[Job] = []
        limit = self._settings.deadline_ns + _GRACE_NS
        for request_id, flight in list(self._flights.items()):
            if now.steady_ns - flight.sent.steady_ns > limit:
                handled = self.replied(flight.route, Reply(
                    request_id, failure=Failure.DEADLINE, detail='the policy never came back'), now)
                jobs += handled.jobs
        for route, since in list(self._handshaking.items()):
            if now.steady_ns - since > _HANDSHAKE_NS:
                self.handshake_failed(route, 'the handshake never came back', now)
        return tuple(jobs)

    def _exchange(self, flight: _Flight, reply: Reply, outcome: str, detail: str,
                  now: Times) -> Exchange:
        assert flight.ticket is not None
        assert flight.observation is not None
        ticket, ticks = flight.ticket, tuple(self._ticks)
        self._ticks.clear()
        return Exchange(
            request_id=ticket.request_id, epoch=ticket.epoch, sequence=ticket.sequence,
            source=flight.route, model=self._settings.model_name, version=reply.version,
            outcome=outcome, detail=detail, sent_ns=flight.sent.logical_ns,
            received_ns=now.logical_ns, observed_ns=ticket.observed_ns,
            executed_ns=ticket.executed_ns, stamps_ns=flight.observation.stamps_ns,
            masked=flight.observation.masked, inputs_crc32=flight.inputs_crc32, ticks=ticks,
            actions=reply.actions)

