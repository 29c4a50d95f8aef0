"""A policy with the interface of GR00T's Gr00tPolicy that needs numpy only and runs on a CPU.

It has the tensors of the real one and a plan that a test can predict: every action key that is also
a state glides from the measured state towards a target,

    row(t) = target + (state - target) * exp(-t / 20 rows)

A robot that follows this plan exactly gets the same plan again from each later state. So a chunk
that is aligned by the wrong number of rows shows as a step at the seam, and one aligned rightly
does not. A key of deltas (`rep` DELTA) gives the steps of that path. Keys without a state of
their name and width stay at their target. The target lies within the key's statistics and depends
on the instruction and on each camera: other words or swapped cameras give other actions.
"""

import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

_ROWS_TO_TARGET = 20.0
_MODALITIES = ('video', 'state', 'action', 'language')


class StandinPolicy:
    # What the Triton model looks for before it offers an RTC prefix to robots.
    takes_rtc_prefix = True

    def __init__(self, embodiment_tag, model_path, *, device='cpu', strict=True):
        """model_path is a folder with GR00T's processor_config.json and statistics.json.

        device and strict are there for the interface's sake.
        """
        folder = Path(model_path)
        config = json.loads((folder / 'processor_config.json').read_text())
        modality = config['processor_kwargs']['modality_configs'][embodiment_tag]
        self.modality_configs = {kind: SimpleNamespace(**modality[kind]) for kind in _MODALITIES}
        statistics = json.loads((folder / 'statistics.json').read_text())[embodiment_tag]
        action = self.modality_configs['action']
        self._ranges = {key: tuple(np.array(statistics['action'][key][bound])
                                   for bound in ('min', 'max')) for key in action.modality_keys}
        self._deltas = {key for key, part in zip(action.modality_keys, action.action_configs,
                                                 strict=True) if part['rep'] == 'DELTA'}
        self._rows = np.array(action.delta_indices, np.float64)

    def get_modality_config(self):
        return self.modality_configs

    def reset(self, options=None):
        return {}

    def get_action(self, observation, options=None):
        """(action, info): float32 (1, H, D) by key, from a nested observation of batch size 1.

        options may hold an RTC prefix: its first `rtc_frozen_steps` rows are taken as they are, and
        the plan goes on from the last of them, not from the measured state: a robot's joints lag
        behind what they were sent.
        """
        actions = {key: self._path(key, observation) for key in self._ranges}
        prefixes = (options or {}).get('rtc_prefix', {})
        for key, prefix in prefixes.items():
            rows, frozen = actions[key][0], options['rtc_frozen_steps']
            rows[:frozen] = prefix[0, :frozen]
            if key not in self._deltas:
                last, target = max(frozen - 1, 0), self._target(key, observation)
                since = self._rows[frozen:, None] - self._rows[last]
                rows[frozen:] = target + (prefix[0, last] - target) * np.exp(
                    -since / _ROWS_TO_TARGET)
        return {key: rows.astype(np.float32) for key, rows in actions.items()}, {}

    def _path(self, key, observation):
        target = self._target(key, observation)
        state = observation['state'].get(key)
        start = state[0, -1].astype(np.float64) if (
            state is not None and state.shape[-1] == len(target)) else target

        def at(rows):
            return target + (start - target) * np.exp(-rows[:, None] / _ROWS_TO_TARGET)

        rows = at(self._rows + 1) - at(self._rows) if key in self._deltas else at(self._rows)
        return rows[None]

    def _target(self, key, observation):
        low, high = self._ranges[key]
        text = observation['language'][self.modality_configs['language'].modality_keys[0]][0][0]
        phase = zlib.crc32(text.encode()) % 1000
        for weight, camera in enumerate(self.modality_configs['video'].modality_keys, start=1):
            # Every 16th pixel is enough to tell pictures apart, and costs nothing.
            phase += weight * observation['video'][camera][0, -1, ::16, ::16].mean() / 255
        return (low + high) / 2 + (high - low) / 4 * np.sin(phase + np.arange(len(low)))
