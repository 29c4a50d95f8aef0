"""The client without ROS and without a network: what is asked, what is believed, what goes out.

The node tells a Pilot what happened (a message, a reply, a handshake, a tick) and does what it
returns (jobs for policies, a command, records to publish). Nothing here waits, and time is an
argument, so the same object runs on a robot, in a test with a virtual clock, and in a simulation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy_client import feedback
from policy_client.chunks import Chunk, QueueSettings, Step, Ticket
from policy_client.embodiment import Embodiment
from policy_client.exchange import DTYPES, Exchange, embodiment_sha256, inputs_crc32
from policy_client.flights import Flight, Flights, FlightSettings, Job, Times
from policy_client.handshake import ModelDescription
from policy_client.journal import RecordedQueue
from policy_client.observation import Lacking, Observation, Sample, Tensors, assemble, pick
from policy_client.policies.base import Reply
from policy_client.reply import FAULTS, ChunkRejected, checked
from policy_client.routing import HOLD
from policy_client.situation import FREE, Situation
from policy_client.vocabulary import Vocabulary

_RESTING = ('starting', 'neutral', 'no_task', 'no_goal', 'arrived')
# Time that runs back so far is a world that began anew, not two clocks that differ a little.
_RESTART_NS = 500_000_000
# Rows that will have gone out before a reply comes are frozen in the next chunk: nearly all do.
_FROZEN_QUANTILE = 0.9
_INSTRUCTION_CHARACTERS = 1000
# Ten times the largest chunk that a handshake lets through; a wrong reply may be of any size.
_ACTION_BYTES = 1 << 20


@dataclass(frozen=True)
class PilotSettings:
    max_age_ns: int
    blend_ns: int
    goal_tolerance_m: float
    safety_timeout_ns: int
    limit_tolerance: float
    model_name: str
    flights: FlightSettings


@dataclass(frozen=True)
class Handled:
    """What a reply led to."""
    jobs: tuple[Job, ...] = ()
    chunk: Chunk | None = None
    stamp_ns: int = 0                 # ROS stamp of the chunk's observation
    exchanges: tuple[Exchange, ...] = ()


@dataclass
class _Counters:
    replies: int = 0
    rejected: int = 0
    fallback_ns: int = 0


class Pilot:
    """Not thread-safe: the node calls it under one lock."""

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary, routes: Sequence[str],
                 settings: PilotSettings, client_id: str) -> None:
        """routes: names of the policies, best first; `hold` is the one that only holds."""
        self._embodiment, self._vocabulary, self._settings = embodiment, vocabulary, settings
        self._flights = Flights(embodiment, vocabulary, routes, settings.flights, client_id)
        self._router = self._flights.router
        self._queue = RecordedQueue(
            QueueSettings(embodiment.action_period_ns, settings.max_age_ns, settings.blend_ns,
                          feedback.limits(embodiment)), client_id)
        self._leading: Ticket | None = None  # of the lead's request on its way
        self._samples: dict[str, Sample] = {}
        self._situation = Situation(embodiment, settings.safety_timeout_ns,
                                    settings.goal_tolerance_m)
        self._mode, self._why = 'starting', ''
        self._lacking: Lacking | None = None  # of the last time that an observation was wanted
        self._camera = 'none'
        self._count = _Counters()
        self._rejected: ChunkRejected | None = None
        self._rejected_route = ''
        self._too_late = ''  # the last chunk that came too late to lead, since one led
        self._unpublished: list[Exchange] = []
        self._step: Step | None = None
        self._stepped_ns = 0
        self._robot = {
            'embodiment': embodiment.name,
            'embodiment_sha256': embodiment_sha256(embodiment),
            'max_age_ns': settings.max_age_ns, 'blend_ns': settings.blend_ns,
            'limit_tolerance': settings.limit_tolerance}

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
        goal = self._embodiment.goal
        if goal is None or topic != goal.topic:
            return False
        if before is not None and self._situation.is_elsewhere(goal, before, sample):
            self._drop()
        return True

    def safety(self, state: str, steady_ns: int, pace: float = 1.0) -> bool:
        """Take the reflex's state; True when it calls for an inference at once.

        pace: 0 to 1, how much of their speed the reflex leaves joints now.
        """
        if any(self._embodiment.positional):
            self._queue.walk(round(pace * 1e6))
        if state not in FREE and self._mode not in ('starting', 'neutral'):
            self._halt()  # at once: it may be free again before the next tick
            self._mode = 'neutral'
        return self._situation.safety(state, steady_ns)

    def handshaken(self, route: str, model: ModelDescription, now: Times) -> tuple[Job, ...]:
        """Compare a route's model with the embodiment; a probe follows when it fits."""
        return self._flights.handshaken(route, model, now)

    def handshake_failed(self, route: str, reason: str, now: Times) -> None:
        self._flights.handshake_failed(route, reason, now)

    def replied(self, route: str, reply: Reply, now: Times) -> Handled:
        """Judge a reply: a chunk that leads, a fallback to ask at once, a record of it."""
        self._look(now)  # a stop since the last tick ends the epoch before the reply is judged
        flight = self._flights.landed(route, reply, now)
        if flight is None:
            return Handled()  # given up before, or never asked
        self._count.replies += reply.failure is None and route != HOLD
        chunk, reason, detail, fault = self._judge(flight, reply, now)
        jobs: tuple[Job, ...] = ()
        if flight.signature is not self._flights.signature(route):
            if flight.ticket is None:  # it proves nothing, for good or bad
                self._router.unproved(route)
        elif fault:
            self._flights.failed(flight, reason, detail, now)
        else:
            self._router.succeeded(route, now.steady_ns, probe=flight.ticket is None)
        if flight.ticket is not None:
            if not fault:
                jobs = self._flights.won(flight)
            if not self._flights.waits(flight.ticket):
                if self._leading is flight.ticket:
                    self._leading = None
                if fault:
                    jobs = self._fall_back(flight, now)
            self._unpublished.append(self._exchange(flight, reply, reason, detail, now))
        if reason in ('stale', 'exhausted'):
            self._too_late = f'{flight.route}: {reason}: {detail}'
        elif chunk:
            self._too_late = ''
        stamp_ns = flight.observation.stamp_ns if flight.observation and chunk else 0
        return Handled(jobs, chunk, stamp_ns, self._published())

    def rest(self) -> None:
        """Forget chunks, requests and where the joints are: the node stops commanding."""
        self._halt()

    # What is asked

    def plan(self, now: Times) -> tuple[Job, ...]:
        """The inference that is due now, from the route that leads, unless one is in flight."""
        jobs = self._give_up(now)
        self._look(now)
        if self._mode in _RESTING or self._leading:
            return jobs
        return (*jobs, *self._ask(self._router.lead(), now))

    def probes(self, now: Times) -> tuple[Job, ...]:
        """What open routes are asked in the background, whatever the robot does."""
        self._look(now)
        return (*self._give_up(now), *self._flights.probes(now))

    @property
    def hedge_due_ns(self) -> int | None:
        """When (steady clock) `hedge` has something to do, if nothing comes until then."""
        return self._flights.hedge_due_ns(self._leading) if self._leading else None

    def hedge(self, now: Times) -> tuple[Job, ...]:
        """A second request for what takes unusually long, within the budget."""
        return self._flights.hedge(self._leading, now) if self._leading else ()

    # What goes out

    def step(self, now: Times) -> Step:
        """The action for this tick: the policy's, a hold, or neutral."""
        self._look(now)
        queue, logical = self._queue, now.logical_ns
        if logical < self._stepped_ns - _RESTART_NS:
            self._halt()
            self._samples = {topic: sample for topic, sample in self._samples.items()
                             if self._embodiment.topics[topic][1]}
        before = self._step
        queue.stamp_ns = now.stamp_ns
        step = queue.neutral(logical) if self._mode == 'neutral' else queue.step(logical)
        if before and before.chunk and before.chunk.source not in (self._router.names[0], HOLD):
            self._count.fallback_ns += min(max(0, logical - self._stepped_ns), 1_000_000_000)
        self._step, self._stepped_ns = step, logical
        return step

    def records(self, now: Times) -> tuple[Exchange, ...]:
        """What is not published yet; the ticks too, when no reply will carry them for a while."""
        if len(self._queue) and not self._leading:
            self._unpublished.append(Exchange(
                request_id='', epoch=self._queue.epoch, sequence=0, source='', model='',
                version='', outcome='ticks', detail='', sent_ns=0, received_ns=now.logical_ns,
                observed_ns=0, executed_ns=self._queue.executed_ns, robot=self._robot,
                record=self._queue.take()))
        return self._published()

    def telling(self) -> tuple[Any, ...]:
        """What people want to hear of at once when it changes."""
        step = self._step
        return (self._mode, step.chunk.source if step and step.chunk else HOLD,
                self._count.rejected, self._queue.epoch, self._camera,
                *(self._router.is_closed(name) for name in self._router.names))

    def status(self, now: Times) -> dict[str, str]:
        """The values of policy/status, as docs and README name them."""
        step, lead = self._step, self._router.lead()
        source = step.chunk.source if step and step.chunk else HOLD
        route = source if source != HOLD else lead or ''
        signature = self._flights.signature(route)
        usual = [self._flights.delay_ns(route, share) if route else None for share in (0.5, 0.95)]
        gap = self._queue.gap
        worst = int(np.argmax(np.nan_to_num(np.abs(gap))))
        part = self._embodiment.columns[worst]
        return {
            'state': self._mode,
            'why': self._why,
            'source': source,
            'requests': str(self._flights.requests),
            'replies': str(self._count.replies),
            'hedges': f'{self._flights.hedges},{self._flights.hedges_won}',
            'rejected_chunks': str(self._count.rejected),
            'reject_reason': self._rejected.reason if self._rejected else '',
            'reject_detail': f'{self._rejected_route}: {self._rejected.detail}'
                             if self._rejected else '',
            'fallback_s': f'{self._count.fallback_ns / 1e9:.2f}',
            'staleness_ms': f'{step.age_ns / 1e6:.0f}' if step and step.chunk else '0',
            'queue': str(self._queue.remaining(now.logical_ns)),
            'round_trip_ms': ','.join('' if found is None else f'{found / 1e6:.1f}'
                                      for found in usual),
            'seam_step': f'{gap[worst]:.3g} of {part.drives}',
            'epoch': str(self._queue.epoch),
            'model': self._settings.model_name,
            'version': signature.version if signature else '',
            'runs_on': signature.runs_on if signature else '',
            'real_time_chunking': str(bool(signature and signature.takes_prefix)).lower(),
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
            (self._halt if mode == 'neutral' else self._drop)()
        self._mode, self._why = mode, why

    def _drop(self) -> None:
        self._queue.drop()
        self._leading = None  # its reply belongs to an epoch that is over
        self._lacking = None

    def _halt(self) -> None:
        self._drop()
        self._queue.forget()  # others may move the joints meanwhile

    def _decided(self, now: Times) -> tuple[str, str]:
        resting = self._situation.resting(self._samples, now.logical_ns, now.steady_ns)
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
        return 'waiting', self._too_late or f'for a chunk of {lead}'

    def _ask(self, route: str | None, now: Times) -> tuple[Job, ...]:
        signature = self._flights.signature(route)
        while route is not None and signature is None:
            route = self._router.after(route)
            signature = self._flights.signature(route)
        if route is None or signature is None:
            return ()
        if route == HOLD and self._queue.remaining(now.logical_ns):
            return ()  # what was planned in good health is better than a stop
        observation = self._observed(assemble(self._embodiment, self._vocabulary, signature,
                                              self._samples, now.logical_ns), now)
        if isinstance(observation, Lacking):
            self._lacking = observation
            return ()
        self._lacking = None
        if self._embodiment.video:
            self._camera = 'masked' if observation.masked else 'live'
        extra: Tensors = {}
        if route == HOLD:
            extra = feedback.held(self._embodiment, self._queue.last)
        elif signature.takes_prefix:
            extra = self._prefix(route, signature.horizon, now)
        self._leading = self._queue.issue(observation.observed_ns, now.logical_ns)
        return (self._flights.ask(route, self._leading, observation, extra, now),)

    def _observed(self, observation: Observation | Lacking, now: Times) -> Observation | Lacking:
        """Joints that are driven have to be seen before the first of them moves."""
        if not np.isnan(self._queue.last).any():
            return observation
        positions, wrong = feedback.measured(self._embodiment, self._samples, now.logical_ns)
        self._queue.found(positions)
        if not wrong:
            return observation
        outcomes = observation.outcomes if isinstance(observation, Lacking) else {}
        return Lacking({**outcomes, 'feedback': wrong})

    def _prefix(self, route: str, horizon: int, now: Times) -> Tensors:
        """Real-time chunking: the rows that go out meanwhile, and how many of them are sure."""
        rows = self._queue.planned(now.logical_ns, horizon)
        if not len(rows):
            return {}
        usual = self._flights.delay_ns(route, _FROZEN_QUANTILE)
        delay = self._settings.flights.deadline_ns if usual is None else usual
        frozen = min(len(rows), math.ceil(delay / self._embodiment.action_period_ns))
        return feedback.rtc_prefix(self._embodiment, rows, frozen)

    def _judge(self, flight: Flight, reply: Reply,
               now: Times) -> tuple[Chunk | None, str, str, bool]:
        """(chunk, outcome, detail, whether the route is to blame)."""
        if reply.failure is not None:
            return None, str(reply.failure), reply.detail, True
        signature = flight.signature
        try:
            if signature is not self._flights.signature(flight.route):
                raise ChunkRejected('epoch', 'of a handshake that is over')
            if reply.version != signature.version:
                raise ChunkRejected('version', f'the reply is of version {reply.version}, the '
                                               f'handshake was with {signature.version}')
            rows = checked(reply.actions, self._embodiment, signature.horizon,
                           self._settings.limit_tolerance)
            if flight.ticket is None:
                return None, 'accepted', '', False
            closed = self._queue.close(flight.ticket.request_id)
            chunk = self._queue.adopt(closed, rows, flight.route, now.logical_ns)
            return chunk, 'accepted', '', False
        except ChunkRejected as rejected:
            fault = rejected.reason in FAULTS
            if fault:
                self._count.rejected += 1
                self._rejected, self._rejected_route = rejected, flight.route
            return None, rejected.reason, rejected.detail, fault

    def _fall_back(self, flight: Flight, now: Times) -> tuple[Job, ...]:
        """Ask the next route at once, unless the request was of an epoch that is over."""
        if self._leading or flight.ticket is None or flight.ticket.epoch != self._queue.epoch:
            return ()
        return self._ask(self._router.after(flight.route), now)

    def _give_up(self, now: Times) -> tuple[Job, ...]:
        handled = [self.replied(route, reply, now) for route, reply in self._flights.overdue(now)]
        self._unpublished += [one for each in handled for one in each.exchanges]
        return tuple(job for each in handled for job in each.jobs)

    def _published(self) -> tuple[Exchange, ...]:
        """In their order, which is that of the queue's journal."""
        unpublished, self._unpublished = self._unpublished, []
        return tuple(unpublished)

    def _exchange(self, flight: Flight, reply: Reply, outcome: str, detail: str,
                  now: Times) -> Exchange:
        ticket, seen = flight.ticket, flight.observation
        assert ticket is not None
        assert seen is not None
        language = self._embodiment.language
        task: Any = self._samples.get(language.topic)
        known: Mapping[str, Any] = {name: array for name, array in reply.actions.items()
                                    if array.dtype.name in DTYPES}
        if sum(array.nbytes for array in known.values()) > _ACTION_BYTES:
            known, detail = {}, f'{detail} (the reply is too large to be kept)'
        return Exchange(
            request_id=flight.request.request_id, epoch=ticket.epoch, sequence=ticket.sequence,
            source=flight.route, model=self._settings.model_name, version=reply.version,
            outcome=outcome, detail=detail, sent_ns=flight.sent.logical_ns,
            received_ns=now.logical_ns, observed_ns=ticket.observed_ns,
            executed_ns=ticket.executed_ns, stamps_ns=seen.stamps_ns,
            instruction=str(pick(task.message, language.field))[:_INSTRUCTION_CHARACTERS]
            if task else '',
            masked=seen.masked, inputs_crc32=inputs_crc32(flight.request.inputs),
            inputs_shape={name: list(array.shape)
                          for name, array in flight.request.inputs.items()},
            robot=self._robot, record=self._queue.take(), actions=known)
