"""From streams to rows on a fixed grid, with no look-ahead.

Row k stands at  t0 + round(k * 1e9 / fps)  ns. Its observation is what the robot's own policy
client would have had at that instant (policy_client.observation.assemble: newest message of each
topic, the same limits of age and skew, the same units), its action the command in force then. A
row without either ends the run; the next run is an episode of its own, since a data set knows no
gaps.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policy_client import images, observation
from policy_client.embodiment import COMPRESSED_IMAGE, Embodiment
from policy_client.handshake import Signature
from policy_client.vocabulary import Vocabulary

from .actions import action_at
from .errors import DatasetError
from .streams import Streams, newest_of

_S = 1_000_000_000
FEWEST_ROWS = 2


@dataclass(frozen=True)
class Grid:
    """fps: rows a second. max_action_age_s: an older command is none."""

    fps: int = 10
    max_action_age_s: float = 0.5
    image_size: tuple[int, int] | None = None   # (height, width); None: as the first picture
    teleop: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.fps <= 200:
            raise DatasetError(f'fps = {self.fps}: must be from 1 to 200')


@dataclass
class Run:
    """Rows without a gap. states (n, S), actions (n, D) float32; pictures by camera (n, H, W, 3).

    starts_ns: arrival time of row 0, for provenance only: no stamp goes into a data set.
    """

    starts_ns: int
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    pictures: Mapping[str, NDArray[np.uint8]]
    instruction: str


@dataclass
class Resampled:
    """gaps: how many grid instants had no row, by reason (without its numbers)."""

    runs: list[Run] = field(default_factory=list)
    gaps: Counter[str] = field(default_factory=Counter)


def resample(streams: Streams, embodiment: Embodiment, vocabulary: Vocabulary,
             grid: Grid) -> Resampled:
    """All runs of FEWEST_ROWS rows and more; raises DatasetError where nothing was heard."""
    span = streams.span_ns
    if span is None:
        raise DatasetError('nothing was heard on any topic of the embodiment')
    found, open_run = Resampled(), _Open()
    signature = _signature(streams, embodiment, vocabulary, grid)
    for at_ns in instants(span, grid.fps):
        samples = newest_of(streams, embodiment.topics, at_ns)
        seen = observation.assemble(embodiment, vocabulary, signature, samples, at_ns)
        action = action_at(embodiment, streams, at_ns, round(grid.max_action_age_s * _S),
                           grid.teleop)
        if isinstance(seen, observation.Lacking) or isinstance(action, str):
            found.runs += open_run.closed()
            open_run = _Open()
            found.gaps[_reason(seen, action)] += 1
            continue
        instruction = str(observation.pick(samples[embodiment.language.topic].message,
                                           embodiment.language.field)).strip()
        if instruction != open_run.instruction:
            found.runs += open_run.closed()
            open_run = _Open()
        open_run.add(at_ns, seen, action, embodiment, instruction)
    found.runs += open_run.closed()
    return found


def instants(span_ns: tuple[int, int], fps: int) -> Iterator[int]:
    """Grid instants (ns) within a span, its first one at the span's start."""
    first, last = span_ns
    row = 0
    while (at_ns := first + round(row * _S / fps)) <= last:
        yield at_ns
        row += 1


@dataclass
class _Open:
    """The run that is being made."""

    instruction: str = ''
    starts_ns: int = 0
    states: list[NDArray[np.float32]] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    pictures: dict[str, list[NDArray[np.uint8]]] = field(default_factory=dict)

    def add(self, at_ns: int, seen: observation.Observation, action: NDArray[np.float32],
            embodiment: Embodiment, instruction: str) -> None:
        if not self.states:
            self.starts_ns, self.instruction = at_ns, instruction
        self.states.append(np.concatenate(
            [seen.inputs[key.name].reshape(-1) for key in embodiment.state]).astype(np.float32))
        self.actions.append(action)
        for key in embodiment.video:
            self.pictures.setdefault(key.name, []).append(seen.inputs[key.name][0, 0])

    def closed(self) -> list[Run]:
        """The run, if it is long enough."""
        if len(self.states) < FEWEST_ROWS:
            return []
        return [Run(self.starts_ns, np.stack(self.states), np.stack(self.actions),
                    {name: np.stack(each) for name, each in self.pictures.items()},
                    self.instruction)]


def _signature(streams: Streams, embodiment: Embodiment, vocabulary: Vocabulary,
               grid: Grid) -> Signature:
    """The sizes of a network that takes pictures as they are, or as the grid says."""
    sizes = {}
    for key in embodiment.video:
        convert = images.from_compressed if key.type == COMPRESSED_IMAGE else images.from_image
        size = grid.image_size
        for sample in streams.all(key.topic) if size is None else ():
            try:
                size = convert(sample.message).shape[:2]
                break
            except images.ImageError:
                continue
        height, width = size or (224, 224)
        sizes[key.name] = (height - height % 2, width - width % 2)  # 4:2:0 knows no odd sides
    return Signature('', sizes, 64 if embodiment.language.tokens else 0, 1)


def _reason(seen: observation.Observation | observation.Lacking,
            action: NDArray[np.float32] | str) -> str:
    if isinstance(seen, observation.Lacking):
        name, outcome = next(iter(seen.outcomes.items()))
        return f'{name}: {outcome.split(":")[0]}'
    return f'action: {str(action).split(":")[0]}'
