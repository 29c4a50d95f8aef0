"""Bytes, numbers and times that mean harm, into every input of the reflex.

    ./dev shell python tests/fuzz_reflex.py --inputs 1000000 [--seed 1]

Two robots take them in turn: the AMR, and one with an arm, two scanners, a muting, an e-stop, the
enable, and logical time. Calm times, in which the robot is started and drives, alternate with
bursts of hostile inputs among honest ones; only hostile ones are counted. After each decision:

    no exception      from any input, decision, status or reset, whatever came before
    limits            velocity, reverse, turn and acceleration; joint positions, velocities, steps
    no motion         unless RUNNING, SLOWED or escaping: else the output falls as a stop must
    stop wins         with a cause on the list that stops, or with what this script knows to be
                      true (an e-stop that was pressed, an enable withdrawn, a source silent for
                      longer than its timeout), the robot is not free to move
    reset             LATCHED ends only after a reset that was granted
    no wedge          honest inputs and an operator get it going again (tried after some bursts)
    the writers       can serialise what comes out, and their readers read it back

At the end the process must not have grown: its resident memory after the first tenth of the inputs
is held against that at the end. An input that breaks a rule is written to `--save`, a folder;
tests/corpus/reflex keeps such inputs, and test_fuzz.py replays them.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import fuzz_command
import psutil
from fuzz_robot import Subject, subjects

from safety_reflex.states import State

# Resident memory may differ by the allocator's mood; what leaks with a million inputs is more.
MOST_GROWTH_MB = 8.0


def fuzz(seed: int, number: int, save: Path | None = None) -> dict[str, Any]:
    """So many hostile inputs; raises what the reflex raised, or RuleBroken, at the first."""
    under_test: list[Subject] = subjects(seed)
    process = psutil.Process()
    begin, sent, rss = time.monotonic(), 0, []
    turn = 0
    while sent < number:
        subject = under_test[turn % len(under_test)]
        turn += 1
        try:
            subject.calm(subject.random.randrange(40, 120))
            sent += subject.burst(subject.random.randrange(5, 60))
            if turn % 8 < len(under_test):
                subject.recover()
        except Exception as problem:
            channel, data = subject.last
            problem.add_note(f'seed {seed}, after {sent} inputs; the newest was on {channel}: '
                             f'{data[:64].hex()} ({len(data)} bytes)')
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                (save / f'{channel}-seed_{seed}_{sent}.bin').write_bytes(data)
            raise
        if sent * 10 >= number * (len(rss) + 1):
            rss.append(process.memory_info().rss)
    counts: Counter[str] = Counter()
    for subject in under_test:
        counts += subject.counts + subject.rules.counts
    seconds = time.monotonic() - begin
    return {'hostile_inputs': sent,
            'all_inputs': sum(counts[channel] for channel in under_test[-1].channels),
            'decisions': sum(counts[str(state)] for state in State), 'seconds': round(seconds, 1),
            'inputs_per_s': round(sent / seconds), 'rss_mb': [round(r / 1e6, 1) for r in rss],
            'rss_growth_mb': round((rss[-1] - rss[0]) / 1e6, 2),
            'counts': dict(sorted(counts.items()))}


def main() -> None:
    fuzz_command.run(__doc__.partition('\n')[0], fuzz, inputs=100_000,
                     most_growth_mb=MOST_GROWTH_MB)


if __name__ == '__main__':
    main()
