"""What a replay found, as a JSON document and as tables for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from policy_client.embodiment import Embodiment
from policy_client.replay.comparison import Compared
from policy_client.replay.live import Live
from policy_client.replay.observations import DIFFERENT, EQUAL, LACKING, Rebuilt
from policy_client.replay.playback import Playback
from policy_client.replay.recording import Recording

REDACTED = 'redacted'
EQUAL_STATUS, DIFFERENT_STATUS, CANNOT_STATUS = 0, 1, 2


@dataclass
class KeyTally:
    """Of one observation key: how many observations are what, and the first that is not equal."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(
        (EQUAL, DIFFERENT, LACKING, REDACTED), 0))
    first: str = ''


@dataclass
class Report:
    embodiment: Embodiment
    recording: Recording
    playback: Playback
    compared: Mapping[str, Compared]
    observations: dict[str, KeyTally] = field(default_factory=dict)
    live: Live | None = None
    live_playback: Playback | None = None

    def saw(self, rebuilt: Rebuilt) -> None:
        """Count the verdicts of one observation."""
        pictures = {key.name for key in self.embodiment.video}
        for name, (verdict, why) in rebuilt.verdicts.items():
            tally = self.observations.setdefault(name, KeyTally())
            if self.recording.redacted and name in pictures and verdict != EQUAL:
                verdict = REDACTED
            tally.counts[verdict] += 1
            if verdict != EQUAL:
                tally.first = tally.first or why

    @property
    def unreadable(self) -> list[str]:
        """Why exchanges of the bag cannot be read."""
        return [one.why for one in self.recording.exchanges if one.exchange is None]

    @property
    def status(self) -> int:
        """0 equal, 1 different, 2 nothing that could be compared."""
        if any(one.different for one in self.compared.values()) or self.playback.problems or (
                self.unreadable) or any(tally.counts[DIFFERENT]
                                        for tally in self.observations.values()):
            return DIFFERENT_STATUS
        if not any(one.equal or one.nothing_due for one in self.compared.values()):
            return CANNOT_STATUS
        return EQUAL_STATUS

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        playback = self.playback
        content: dict[str, Any] = {
            'status': self.status, 'embodiment': self.embodiment.name,
            'namespace': self.recording.namespace,
            'exchanges': len(self.recording.exchanges), 'unreadable': self.unreadable[:20],
            'begins': list(playback.begins.values())[:1000], 'problems': playback.problems,
            'ticks': len(playback.ticks), 'ticks_not_replayed': len(playback.missed),
            'redacted': self.recording.redacted,
            'commands': {topic: vars(one) for topic, one in self.compared.items()},
            'observations': {name: {**tally.counts, 'first': tally.first}
                             for name, tally in self.observations.items()}}
        if self.live:
            streams = self._streams()
            content['live'] = {
                'model': self.live.model.name, 'version': self.live.model.version,
                'runs_on': self.live.model.runs_on, 'horizon': self.live.signature.horizon,
                'asked': self.live.asked, 'left_out': self.live.left_out,
                'refused': self.live.refused, 'failures': self.live.failures,
                'note': self.live.horizon_note,
                'keys': {name: {'chunks': one.chunks, 'maximum': one.maximum, 'rms': one.rms,
                                'column': one.column, 'stream_maximum': streams[name]}
                         for name, one in self.live.differences.items()}}
        return content

    def show(self, console: Console) -> None:
        """Tables and one sentence each for what is out of the ordinary."""
        playback = self.playback
        table = Table('command', 'equal', 'different', 'message lost', 'not due', 'no tick',
                      box=None, title='Actions, bit for bit', title_justify='left')
        for topic, one in self.compared.items():
            table.add_row(topic, *map(str, (one.equal, one.different, one.without_message,
                                            one.nothing_due, one.without_tick)))
        console.print(table)
        starts = list(playback.begins.values())
        self._say(console, f'{len(playback.ticks)} ticks replayed'
                           f'{", " + starts[0] if starts else ""}')
        if playback.missed:
            self._say(console, f'{len(playback.missed)} ticks not replayed: the chunk that led is '
                               'not in the bag')
        if len(starts) > 1:
            self._say(console, 'the queue was set up again (a restart, or exchanges are missing) '
                               f'{", ".join(starts[1:6])}{" .." if len(starts) > 6 else ""}')
        for sentence in (*(one.first for one in self.compared.values()), *playback.problems,
                         *(f'an exchange cannot be read: {why}' for why in self.unreadable[:5])):
            if sentence:
                self._say(console, sentence, 'red')
        table = Table('observation', 'equal', 'different', 'lacking', 'redacted', 'first',
                      box=None, title='Inputs, by checksum', title_justify='left')
        for name, tally in self.observations.items():
            table.add_row(name, *map(str, tally.counts.values()), tally.first)
        console.print(table)
        lacking = [key.name for key in self.embodiment.video
                   if key.name in self.observations and not any(
                       self.observations[key.name].counts[verdict]
                       for verdict in (EQUAL, DIFFERENT))]
        if self.recording.redacted or lacking:
            self._say(console, f'pictures were redacted or left out of this bag'
                               f'{" (" + ", ".join(lacking) + ")" if lacking else ""}: it is '
                               'replayed from its recorded replies')
        if self.live:
            self._show_live(console, self.live)
        words = {EQUAL_STATUS: 'equal', DIFFERENT_STATUS: 'different',
                 CANNOT_STATUS: 'no recorded command belongs to a tick that could be replayed'}
        self._say(console, words[self.status],
                  'green' if self.status == EQUAL_STATUS else 'red')

    def _show_live(self, console: Console, live: Live) -> None:
        model = live.model
        table = Table('action', 'chunks', 'max', 'of', 'RMS', 'max in the stream', box=None,
                      title=f'Live minus recorded: {model.name} {model.version} on '
                            f'{model.runs_on}', title_justify='left')
        streams = self._streams()
        for name, one in live.differences.items():
            stream = streams[name]
            table.add_row(name, str(one.chunks), f'{one.maximum:.3g}', one.column,
                          f'{one.rms:.3g}', '-' if stream is None else f'{stream:.3g}')
        console.print(table)
        for what, counts in (('not sent', live.left_out), ('refused', live.refused),
                             ('failed', live.failures)):
            for why, count in counts.items():
                self._say(console, f'{count} {what}: {why}')
        if live.horizon_note:
            self._say(console, live.horizon_note)

    def _streams(self) -> dict[str, float | None]:
        """Action key -> largest difference of what goes out, in driven units; None: unknown."""
        mine = self.playback.ticks
        other = self.live_playback.ticks if self.live_playback else []
        if not mine or len(mine) != len(other):
            return dict.fromkeys(self.embodiment.slices)
        gap = np.abs(np.array([tick.action for tick in mine])
                     - np.array([tick.action for tick in other]))
        return {name: float(np.max(np.nan_to_num(gap[:, part])))
                for name, part in self.embodiment.slices.items()}

    @staticmethod
    def _say(console: Console, sentence: str, style: str = '') -> None:
        console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)
