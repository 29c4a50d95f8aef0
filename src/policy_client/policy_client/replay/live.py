"""What a policy says today to the observations of a recording."""

import math
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass, field

import numpy as np

from policy_client.chunks import Array
from policy_client.embodiment import Embodiment
from policy_client.handshake import HandshakeError, ModelDescription, Signature, compare
from policy_client.policies.base import Policy, PolicyUnavailable, Request
from policy_client.replay.bag import BagError
from policy_client.replay.observations import Observations, Rebuilt
from policy_client.replay.playback import Plan
from policy_client.replay.recording import Told
from policy_client.reply import ChunkRejected, checked
from policy_client.routing import HOLD
from policy_client.vocabulary import Vocabulary

_HANDSHAKE_S = 5.0
_DEADLINE_NS = 10_000_000_000
_FAILURES_IN_A_ROW = 3


@dataclass
class Difference:
    """Live minus recorded of one action key, in the network's units, over all rows compared."""
    chunks: int = 0
    values: int = 0
    maximum: float = 0.0
    column: str = ''   # where the maximum is
    squares: float = 0.0

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / self.values) if self.values else 0.0


@dataclass
class Live:
    """
    Attributes:
        differences: action key -> how it differs.
        rows: index of an exchange -> rows (H, D) in driven units; None for a refused reply.
        left_out: why observations were not sent -> how many.
        refused: reason of a refused reply -> how many.
        failures: failure -> how many requests brought nothing.
    """
    model: ModelDescription
    signature: Signature
    differences: dict[str, Difference]
    asked: int = 0
    rows: dict[int, Array | None] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    horizon_note: str = ''


def meet(policy: Policy, embodiment: Embodiment, vocabulary: Vocabulary, *,
         strict: bool) -> Live:
    """The handshake; raises BagError when there is nobody or when the model is for another robot.

    Args:
        strict: refuse a model that does not say whose it is.
    """
    try:
        model = policy.handshake(_HANDSHAKE_S)
        signature = compare(embodiment, vocabulary, model, parameters_required=strict)
    except (PolicyUnavailable, HandshakeError) as error:
        raise BagError(f'the live policy cannot be used: {error}') from None
    return Live(model, signature, {key.name: Difference() for key in embodiment.actions})


def ask(live: Live, policy: Policy, embodiment: Embodiment, observations: Observations,
        index: int, told: Told, rebuilt: Rebuilt, plan: Plan | None) -> None:
    """Send one observation and note how the reply differs; raises BagError for a dead policy."""
    exchange = told.exchange
    if exchange is None or exchange.source == HOLD or not exchange.actions:
        return
    if not rebuilt.whole:
        verdict = next(f'{name} is {verdict}' for name, (verdict, _) in rebuilt.verdicts.items()
                       if verdict != 'equal')
        _count(live.left_out, verdict)
        return
    inputs = observations.fitted(exchange, rebuilt, live.signature)
    if isinstance(inputs, str):
        _count(live.left_out, inputs)
        return
    if live.signature.takes_prefix:
        inputs = inputs | observations.prefix(plan, exchange, live.signature.horizon)
    live.asked += 1
    request = Request(f'replay/{index}', inputs, _DEADLINE_NS)
    try:
        reply = policy.infer(request).result(2 * _DEADLINE_NS / 1e9)
    except WaitedTooLong:
        raise BagError('the live policy never came back') from None
    if reply.failure is not None:
        _count(live.failures, str(reply.failure))
        if live.failures[str(reply.failure)] >= _FAILURES_IN_A_ROW and not live.rows:
            raise BagError(f'the live policy fails: {reply.failure}: {reply.detail}')
        return
    try:
        live.rows[index] = checked(reply.actions, embodiment, live.signature.horizon,
                                   float(exchange.robot['limit_tolerance']))
    except ChunkRejected as rejected:
        live.rows[index] = None
        _count(live.refused, rejected.reason)
        if rejected.reason != 'over_limit':
            return  # no numbers to compare
    for key in embodiment.actions:
        recorded, now = exchange.actions.get(key.name), reply.actions[key.name]
        width = len(key.components)
        if recorded is None or recorded.ndim != 3 or recorded.shape[0] != 1 or (
                recorded.shape[2] != width or not np.isfinite(recorded).all()):
            continue
        rows = min(recorded.shape[1], now.shape[1])
        if recorded.shape[1] != now.shape[1]:
            live.horizon_note = (f'recorded chunks have {recorded.shape[1]} rows, live ones '
                                 f'{now.shape[1]}; the first {rows} are compared')
        _note(live.differences[key.name], [part.name for part in key.components],
              now[0, :rows].astype(float) - recorded[0, :rows].astype(float))


def _note(found: Difference, names: list[str], difference: Array) -> None:
    found.chunks += 1
    found.values += difference.size
    found.squares += float(np.sum(difference ** 2))
    size = np.abs(difference)
    worst = float(np.max(size, initial=0.0))
    if worst > found.maximum:
        found.maximum = worst
        found.column = names[int(np.argmax(size)) % len(names)]


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
