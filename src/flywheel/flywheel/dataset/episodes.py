"""An episode of a data set: a run with its case, and the columns that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .resample import Run

STATE, ACTION, TIMESTAMP, REWARD = ('observation.state', 'action', 'timestamp', 'next.reward')
TASK, CAUSE = 'annotation.human.task_description', 'annotation.recorder.cause'
# Float features, which have statistics.
FLOATS = (STATE, ACTION, TIMESTAMP, REWARD)


@dataclass(frozen=True)
class Episode:
    """label: where the actions come from (`policy`, `teleop`, `expert`). seed: of a simulated
    drive, None for a recorded one. succeeded: the drive reached its goal without breaking a
    criterion; of a recorded one nobody knows, so False.
    """

    case_id: str
    group: str
    cause: str
    label: str
    run: Run
    seed: int | None = None
    succeeded: bool = False

    def __len__(self) -> int:
        return len(self.run.states)

    @property
    def tasks(self) -> tuple[str, str]:
        """The instruction, and what was noted about the case."""
        return self.run.instruction, f'case: {self.cause}'


def task_numbers(episodes: Sequence[Episode]) -> dict[str, int]:
    """Text -> task_index, in the order of first use."""
    found: dict[str, int] = {}
    for episode in episodes:
        for text in episode.tasks:
            found.setdefault(text, len(found))
    return found


def columns(episode: Episode, number: int, first_row: int, fps: int,
            tasks: dict[str, int]) -> dict[str, NDArray[Any]]:
    """Arrays by feature, each of len(episode) rows. Times begin at 0 and step by 1 / fps."""
    count = len(episode)
    instruction, cause = (tasks[text] for text in episode.tasks)
    reward = np.zeros(count, np.float32)
    reward[-1] = float(episode.succeeded)
    return {
        STATE: episode.run.states, ACTION: episode.run.actions,
        TIMESTAMP: (np.arange(count) / fps).astype(np.float32),
        'frame_index': np.arange(count, dtype=np.int64),
        'episode_index': np.full(count, number, np.int64),
        'index': np.arange(first_row, first_row + count, dtype=np.int64),
        'task_index': np.full(count, instruction, np.int64),
        TASK: np.full(count, instruction, np.int64),
        CAUSE: np.full(count, cause, np.int64),
        REWARD: reward, 'next.done': np.arange(count) == count - 1,
    }


def table(arrays: dict[str, NDArray[Any]]) -> pa.Table:
    """Vectors become fixed-size lists, as the readers of both layouts expect them."""
    found = {}
    for name, array in arrays.items():
        if array.ndim == 2:
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
            found[name] = pa.FixedSizeListArray.from_arrays(flat, array.shape[1])
        else:
            found[name] = pa.array(array)
    return pa.table(found)
