"""Observations rebuilt from the bag's own messages, and held against the checksums as sent."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_client import feedback
from policy_client.embodiment import Embodiment
from policy_client.exchange import Exchange, inputs_crc32
from policy_client.groot_checkpoint import PREFIX, PREFIX_LENGTH
from policy_client.handshake import Signature
from policy_client.observation import Lacking, Sample, Tensors, assemble
from policy_client.replay.bag import BagError
from policy_client.replay.playback import Plan
from policy_client.replay.recording import Recording, input_message, input_topics
from policy_client.routing import HOLD
from policy_client.vocabulary import Vocabulary

EQUAL, DIFFERENT, LACKING = 'equal', 'different', 'lacking'
# Messages with the same stamp (a goal without one) are tried until the checksum fits.
_MOST_TRIES = 64
_MAX_SIDE, _MAX_TOKENS = 4096, 4096


@dataclass(frozen=True)
class Rebuilt:
    """An exchange's observation again.

    Attributes:
        inputs: the tensors that could be rebuilt.
        verdicts: key -> (EQUAL, DIFFERENT or LACKING, why).
    """
    inputs: Tensors
    verdicts: Mapping[str, tuple[str, str]]

    @property
    def whole(self) -> bool:
        """Whether it is the recorded observation, as far as that can be known."""
        return all(verdict == EQUAL for verdict, _ in self.verdicts.values())


class Observations:
    """Rebuilds observations; one picture is decoded at a time."""

    def __init__(self, embodiment: Embodiment, vocabulary: Vocabulary,
                 recording: Recording) -> None:
        self._vocabulary, self._recording = vocabulary, recording
        self._embodiment = embodiment
        self._topics = input_topics(embodiment)
        self._parts = {
            **{key.name: replace(embodiment, video=(key,), state=()) for key in embodiment.video},
            **{key.name: replace(embodiment, video=(), state=(key,)) for key in embodiment.state},
            embodiment.language.name: replace(embodiment, video=(), state=())}

    def rebuilt(self, exchange: Exchange, plan: Plan | None) -> Rebuilt:
        """The observation of an exchange in its recorded sizes, compared key by key.

        Args:
            plan: of the queue when the request was made; None where that was not replayed.
        """
        signature = self._recorded_sizes(exchange)
        inputs: Tensors = {}
        verdicts: dict[str, tuple[str, str]] = {}
        extra = self._extra(exchange, plan)
        for name, crc in exchange.inputs_crc32.items():
            if name not in self._parts:
                array = extra.get(name)
                found: list[NDArray[Any]] = [] if array is None else [array]
                why = 'it is made of the queue, which was not replayed there'
            else:
                tried = list(itertools.islice(self._tries(name, exchange, signature), _MOST_TRIES))
                found = [one for one in tried if not isinstance(one, str)]
                why = next((one for one in tried if isinstance(one, str)), '')
            if not found:
                verdicts[name] = (LACKING, why)
                continue
            fitting = [one for one in found if inputs_crc32({name: one})[name] == crc]
            inputs[name] = (fitting or found)[0]
            verdicts[name] = (EQUAL, '') if fitting else (
                DIFFERENT, f'{name} of request {exchange.sequence}')
        return Rebuilt(inputs, verdicts)

    def fitted(self, exchange: Exchange, known: Rebuilt, signature: Signature) -> Tensors | str:
        """The observation in another model's sizes; or what lacks."""
        inputs: Tensors = {}
        for name in self._parts:
            if name in known.inputs and name in exchange.inputs_shape and (
                    self._same_size(name, exchange, signature)):
                inputs[name] = known.inputs[name]
                continue
            found = next((one for one in self._tries(name, exchange, signature)
                          if not isinstance(one, str)), None)
            if found is None:
                return f'{name} is not in the bag'
            inputs[name] = found
        return inputs

    def _same_size(self, name: str, exchange: Exchange, signature: Signature) -> bool:
        shape = exchange.inputs_shape[name]
        if name in signature.images:
            return tuple(shape[2:4]) == signature.images[name]
        return name != self._embodiment.language.name or shape[1:] == (
            [signature.tokens] if self._embodiment.language.tokens else [1])

    def _tries(self, name: str, exchange: Exchange,
               signature: Signature) -> Iterator[NDArray[Any] | str]:
        """The key's tensor by each choice of messages with the recorded stamps, or why not."""
        part = self._parts[name]
        size = signature.images.get(name)
        if part.video:
            if size is None:
                yield 'its size was not recorded'
                return
            if name in exchange.masked:
                yield np.zeros((1, 1, *size, 3), np.uint8)
                return
        if name == part.language.name and part.language.tokens and not signature.tokens:
            yield 'its size was not recorded'
            return
        needed = {key: self._topics[key] for key in (name, f'{name}.seen_from')
                  if key in self._topics}
        choices = []
        for key, (topic, kind) in needed.items():
            stamp = exchange.stamps_ns.get(key)
            logged = self._recording.seen.get(topic, {}).get(stamp, []) if (
                stamp is not None) else []
            if not logged:
                yield f'{topic} has no message of the recorded stamp in the bag'
                return
            choices.append([(topic, kind, stamp, one) for one in reversed(logged)])
        for choice in itertools.product(*choices):
            try:
                samples = {topic: Sample(input_message(kind, logged), 0, stamp)
                           for topic, kind, stamp, logged in choice}
            except BagError as error:
                yield str(error)
                continue
            samples[part.language.topic] = Sample(
                _as_message(part.language.field, exchange.instruction), 0)
            observation = assemble(part, self._vocabulary, signature, samples, 0)
            if isinstance(observation, Lacking):
                yield str(observation)
            elif name in observation.masked:
                yield observation.outcomes.get(name, 'the picture cannot be used')
            else:
                yield observation.inputs[name]

    def _recorded_sizes(self, exchange: Exchange) -> Signature:
        """The model's sizes as the request had them; nothing where they are not recorded."""
        images = {}
        for key in self._embodiment.video:
            shape = exchange.inputs_shape.get(key.name)
            if shape and _is_shape(shape, 5) and (
                    1 <= shape[2] <= _MAX_SIDE and 1 <= shape[3] <= _MAX_SIDE):
                images[key.name] = (shape[2], shape[3])
        shape = exchange.inputs_shape.get(self._embodiment.language.name)
        tokens = shape[1] if shape and _is_shape(shape, 2) and (
            1 <= shape[1] <= _MAX_TOKENS) else 0
        return Signature(exchange.version, images, tokens, 0)

    def _extra(self, exchange: Exchange, plan: Plan | None) -> Tensors:
        """What the client adds of its own queue: the pose to hold, or the running plan."""
        if plan is None:
            return {}
        if exchange.source == HOLD:
            return dict(feedback.held(self._embodiment, plan.last))
        if PREFIX_LENGTH not in exchange.inputs_crc32:
            return {}
        shapes = [shape for name, shape in exchange.inputs_shape.items()
                  if name.startswith(PREFIX) and _is_shape(shape, 3)]
        sent = shapes[0][1] if shapes else 0
        frozen = self._frozen(exchange, min(sent, len(plan.rows)))
        prefix = feedback.rtc_prefix(self._embodiment, plan.rows[:sent], frozen or 0)
        if frozen is None:
            del prefix[PREFIX_LENGTH]
        return prefix

    @staticmethod
    def _frozen(exchange: Exchange, most: int) -> int | None:
        """How many rows were frozen: CRC-32 of four bytes is one to one, so it tells the number."""
        crc = exchange.inputs_crc32.get(PREFIX_LENGTH)
        return next((number for number in range(most + 1) if crc == inputs_crc32(
            {'': np.array([number], np.int32)})['']), None)

    def prefix(self, plan: Plan | None, exchange: Exchange, horizon: int) -> Tensors:
        """Real-time chunking for a live model: as recorded, or with the delay that was recorded."""
        if plan is None or not len(plan.rows):
            return {}
        rows = plan.rows[:horizon]
        frozen = self._frozen(exchange, len(rows))
        if frozen is None:
            delay = max(0, exchange.received_ns - exchange.sent_ns)
            frozen = min(len(rows), math.ceil(delay / self._embodiment.action_period_ns))
        return feedback.rtc_prefix(self._embodiment, rows, frozen)


def _is_shape(shape: Any, length: int) -> bool:
    return (isinstance(shape, list) and len(shape) == length
            and all(isinstance(size, int) for size in shape))


def _as_message(field: str, text: str) -> Any:
    """A message whose field (a dotted path) is the text."""
    value: Any = text
    for name in reversed(field.split('.')):
        value = SimpleNamespace(**{name: value})
    return value
