"""Who is asked what, and what of it is on its way: requests, probes, handshakes, hedges.

A route is asked only after a handshake. What was asked is remembered until it lands or is given up,
so a reply that nobody waits for is never looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy_client import feedback
from policy_client.chunks import Ticket
from policy_client.delay import Delay, HedgeBudget
from policy_client.embodiment import Embodiment
from policy_client.handshake import HandshakeError, ModelDescription, Signature, compare
from policy_client.observation import Observation, Tensors, blank
from policy_client.policies.base import Failure, Reply, Request
from policy_client.routing import HOLD, Router, RouterSettings
from policy_client.vocabulary import Vocabulary

# Beyond its deadline a reply is given up by the policy itself; a policy that forgets is found here.
_GRACE_NS = 100_000_000
_HANDSHAKE_NS = 5_000_000_000
_HEDGE_AT, _HEDGE_SHARE = 0.95, 0.05
# When more than 5 % are slow, the p95 is one of them; the budget still goes to those.
_HEDGE_AT_MEDIANS = 2
# A server needs some time to answer a second request at all.
_SHORTEST_HEDGE_NS = 10_000_000


class Times(NamedTuple):
    """The moment of an event, in nanoseconds.

    logical_ns: ages and chunks (the world's time in simulation); steady_ns: deadlines and health;
    stamp_ns: ROS time, only to find messages again.
    """
    logical_ns: int
    steady_ns: int
    stamp_ns: int = 0


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


@dataclass(frozen=True)
class Cancel:
    """Job: its answer is not wanted any more; nothing comes back."""
    route: str
    request_id: str


Job = Handshake | Infer | Cancel


@dataclass(frozen=True)
class Flight:
    """A request on its way; without a ticket it is a probe."""
    route: str
    request: Request
    ticket: Ticket | None
    observation: Observation | None
    sent: Times
    signature: Signature  # of the handshake under which it was sent
    hedge: bool = False
    landed: Times | None = None


@dataclass(frozen=True)
class FlightSettings:
    """strict: routes that must publish whose model they serve (an ONNX file chosen by path need
    not); pinned: routes that `model_version` counts for; hedge: ask twice when it takes long."""
    deadline_ns: int
    model_version: str
    strict: frozenset[str]
    pinned: frozenset[str]
    router: RouterSettings
    hedge: bool = False


class Flights:
    """Not thread-safe. `router` says who leads; the rest is bookkeeping around it."""

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary, routes: Sequence[str],
                 settings: FlightSettings, client_id: str) -> None:
        self._embodiment, self._vocabulary, self._settings = embodiment, vocabulary, settings
        self._client_id = client_id
        self.router = Router(routes, settings.router)
        self._signatures: dict[str, Signature] = {}
        self._handshaking: dict[str, int] = {}
        self._flying: dict[str, Flight] = {}
        self._delays = {route: Delay() for route in routes}
        self._budget = HedgeBudget(_HEDGE_SHARE)
        self._hedged: Ticket | None = None
        self._last_inputs: Tensors | None = None
        self._probes = 0
        self.requests = self.hedges = self.hedges_won = 0

    def signature(self, route: str | None) -> Signature | None:
        """What the handshake with a route agreed on; None where there was none, or it is void."""
        return self._signatures.get(route) if route else None

    def delay_ns(self, route: str, share: float) -> int | None:
        """Within which a share of a route's replies come; None until it is known."""
        return self._delays[route].quantile(share)

    # Handshakes

    def handshaken(self, route: str, model: ModelDescription, now: Times) -> tuple[Job, ...]:
        """Compare a route's model with the embodiment; a probe follows when it fits."""
        settings = self._settings
        try:
            signature = compare(
                self._embodiment, self._vocabulary, model,
                parameters_required=route in settings.strict,
                version=settings.model_version if route in settings.pinned else '')
        except HandshakeError as error:
            self.handshake_failed(route, f'refused: {error}', now)
            return ()
        self._handshaking.pop(route, None)
        self._signatures[route] = signature
        self._delays[route].restart()
        return (self._probe(route, now),)

    def handshake_failed(self, route: str, reason: str, now: Times) -> None:
        self._handshaking.pop(route, None)
        self.router.failed(route, now.steady_ns, reason, probe=True, final=True)

    # Asking

    def ask(self, route: str, ticket: Ticket, observation: Observation,
            extra: Mapping[str, NDArray[Any]], now: Times) -> Infer:
        """The ticket's request to a route whose signature is known; `extra` are further inputs."""
        inputs = observation.inputs
        if route != HOLD:
            self._last_inputs = inputs
            self.requests += 1
            self._budget.asked()
        request = Request(ticket.request_id, {**inputs, **extra}, self._settings.deadline_ns)
        self._flying[ticket.request_id] = Flight(route, request, ticket, observation, now,
                                                 self._signatures[route])
        return Infer(route, request, probe=False)

    def probes(self, now: Times) -> tuple[Job, ...]:
        """What open routes are asked in the background, whatever the robot does."""
        jobs: list[Job] = []
        for route in self.router.due(now.steady_ns):
            if route in self._signatures:
                jobs.append(self._probe(route, now))
            else:
                self._handshaking[route] = now.steady_ns
                jobs.append(Handshake(route))
        return tuple(jobs)

    def hedge_due_ns(self, ticket: Ticket) -> int | None:
        """When (steady clock) the ticket's request has taken so long that another is worth it."""
        flight = self._flying.get(ticket.request_id)
        if (not self._settings.hedge or flight is None or self._hedged is ticket
                or flight.route not in self._settings.pinned):
            return None
        usual = self.delay_ns(flight.route, _HEDGE_AT)
        median = self.delay_ns(flight.route, 0.5)
        if usual is None or median is None:
            return None
        return flight.sent.steady_ns + min(usual, _HEDGE_AT_MEDIANS * median)

    def hedge(self, ticket: Ticket, now: Times) -> tuple[Job, ...]:
        """A second request for the same ticket, when it is due and the budget has one left.

        It goes to the next endpoint that may lead and takes the same tensors, else to the same
        Triton: behind its address there may be many, and one has more than one instance.
        """
        due = self.hedge_due_ns(ticket)
        first = self._flying.get(ticket.request_id)
        if due is None or first is None or now.steady_ns < due:
            return ()
        left = self._settings.deadline_ns - (now.steady_ns - first.sent.steady_ns)
        self._hedged = ticket
        route = self.router.after(first.route)
        if route not in self._settings.pinned or self._sizes(route) != self._sizes(first.route):
            route = first.route if first.route in self._settings.strict else None
        if route is None or left < _SHORTEST_HEDGE_NS or not self._budget.take():
            return ()
        request = Request(f'{ticket.request_id}/hedge', first.request.inputs, left)
        self._flying[request.request_id] = Flight(route, request, ticket, first.observation, now,
                                                  self._signatures[route], hedge=True)
        self.requests += 1
        self.hedges += 1
        return (Infer(route, request, probe=False),)

    # Landing

    def landed(self, route: str, reply: Reply, now: Times) -> Flight | None:
        """The flight of a reply; None when nobody waits for it (given up, or never asked)."""
        flight = self._flying.get(reply.request_id)
        if flight is None or flight.route != route:
            return None
        del self._flying[reply.request_id]
        # Of second requests only the quick ones land: they say nothing of the usual delay.
        if reply.failure is None and not flight.hedge:
            self._delays[route].add(now.steady_ns - flight.sent.steady_ns)
        return replace(flight, landed=now)

    def waits(self, ticket: Ticket) -> bool:
        """Whether another request for the same ticket is still on its way."""
        return bool(self._of(ticket))

    def won(self, flight: Flight) -> tuple[Job, ...]:
        """A flight's reply leads: whatever else was asked for its ticket is taken back."""
        assert flight.ticket is not None
        assert flight.landed is not None
        self.hedges_won += flight.hedge
        others = self._of(flight.ticket)
        for other in others:
            del self._flying[other.request.request_id]
            # It would have taken at least so long. Without these the slow replies would be missing
            # from the quantile that finds them, and the budget would go to ordinary ones.
            if not other.hedge:
                self._delays[other.route].add(
                    flight.landed.steady_ns - other.sent.steady_ns)
        return tuple(Cancel(other.route, other.request.request_id) for other in others)

    def failed(self, flight: Flight, reason: str, detail: str, now: Times) -> None:
        """Count a bad reply against its route; one that is final voids the handshake."""
        final = reason == 'version' or (reason in tuple(Failure) and Failure(reason).final)
        self.router.failed(flight.route, now.steady_ns, f'{reason}: {detail}',
                           probe=flight.ticket is None, final=final)
        if final:
            self._signatures.pop(flight.route, None)

    def overdue(self, now: Times) -> tuple[tuple[str, Reply], ...]:
        """Replies in the place of those that never came, so that nothing waits for ever."""
        for route, since in list(self._handshaking.items()):
            if now.steady_ns - since > _HANDSHAKE_NS:
                self.handshake_failed(route, 'the handshake never came back', now)
        limit = self._settings.deadline_ns + _GRACE_NS
        return tuple((flight.route, Reply(request_id, failure=Failure.DEADLINE,
                                          detail='the policy never came back'))
                     for request_id, flight in list(self._flying.items())
                     if now.steady_ns - flight.sent.steady_ns > limit)

    # Details

    def _probe(self, route: str, now: Times) -> Infer:
        self._probes += 1
        inputs = blank(self._embodiment, self._signatures[route])
        if self._last_inputs and all(inputs[name].shape == array.shape
                                     for name, array in self._last_inputs.items()):
            inputs = self._last_inputs
        if route == HOLD:
            nowhere = np.zeros(len(self._embodiment.columns))
            inputs = inputs | feedback.held(self._embodiment, nowhere)
        else:
            self.requests += 1
        request = Request(f'{self._client_id}/probe/{self._probes}', inputs,
                          self._settings.deadline_ns)
        self._flying[request.request_id] = Flight(route, request, None, None, now,
                                                  self._signatures[route])
        return Infer(route, request, probe=True)

    def _of(self, ticket: Ticket) -> list[Flight]:
        return [flight for flight in self._flying.values() if flight.ticket is ticket]

    def _sizes(self, route: str | None) -> tuple[Any, ...] | None:
        found = self.signature(route)
        return (dict(found.images), found.tokens, found.takes_prefix) if found else None
