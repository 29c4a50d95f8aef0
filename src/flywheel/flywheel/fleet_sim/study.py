"""How often is a good release rolled back, and how soon a bad one: many simulated rollouts.

    python -m flywheel.fleet_sim.study --rollouts 300 --json FILE --plot FILE.png --long

Without --long it makes ten of each.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .scenario import Scenario
from .simulation import Simulation

RATIOS = (1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Trial:
    """ended_h: hours from the start to the end of the rollout, None if under way at the end.
    stage: the one it ended in, from 1. treated_h: exposure with the release until then."""
    ratio: float
    seed: int
    state: str
    ended_h: float | None
    stage: int
    treated_h: float

    @property
    def rolled_back(self) -> bool:
        return self.state == 'rolled_back'


def trial(scenario: Scenario) -> Trial:
    """One rollout from start to end."""
    found = Simulation(scenario).run()
    return Trial(scenario.ratio, scenario.seed, found.state, found.ended_h, len(found.stages),
                 found.status['rates']['treated']['hours'])


def trials(scenario: Scenario, ratios: Iterable[float], count: int, *,
           processes: int = 1) -> list[Trial]:
    """count rollouts of each ratio, with seeds of their own."""
    wanted = [replace(scenario, ratio=ratio, seed=10_000 * place + number)
              for place, ratio in enumerate(ratios) for number in range(count)]
    if processes == 1:
        return [trial(each) for each in wanted]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(trial, wanted, chunksize=5))


def summary(found: Sequence[Trial]) -> dict[str, dict[str, float | int | None]]:
    """By ratio: rollouts, share rolled back with its 95 % interval (Wilson), hours until then."""
    result: dict[str, dict[str, float | int | None]] = {}
    for ratio in sorted({each.ratio for each in found}):
        own = [each for each in found if each.ratio == ratio]
        hours = sorted(each.ended_h for each in own if each.rolled_back
                       and each.ended_h is not None)
        low, high = wilson(len(hours), len(own))
        result[f'{ratio:g}'] = {
            'rollouts': len(own), 'rolled_back': len(hours),
            'rolled_back_ratio': len(hours) / len(own), 'low': low, 'high': high,
            'hours_p50': statistics.median(hours) if hours else None,
            'hours_p90': hours[math.ceil(0.9 * len(hours)) - 1] if hours else None,
            'hours_max': hours[-1] if hours else None}
    return result


def wilson(hits: int, tried: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share (E. B. Wilson, J. Am. Statist. Assoc. 22, 1927, p. 209)."""
    share = hits / tried
    middle = (share + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z / (1 + z * z / tried) * math.sqrt(
        share * (1 - share) / tried + z * z / (4 * tried * tried))
    return max(0.0, middle - half), min(1.0, middle + half)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.fleet_sim.study')
    parser.add_argument('--rollouts', type=int, default=300, help='of each ratio, with --long')
    parser.add_argument('--robots', type=int, default=2000)
    parser.add_argument('--spread', type=float, default=Scenario.spread)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--json', type=Path)
    parser.add_argument('--plot', type=Path)
    parser.add_argument('--long', action='store_true')
    options = parser.parse_args(arguments)
    scenario = Scenario(robots=options.robots, spread=options.spread)
    count = options.rollouts if options.long else min(10, options.rollouts)
    found = trials(scenario, RATIOS, count, processes=options.processes)
    told = summary(found)
    print(json.dumps(told, indent=1))
    if options.json:
        options.json.write_text(json.dumps(
            {'robots': options.robots, 'spread': options.spread, 'summary': told,
             'trials': [asdict(each) for each in found]}, indent=1) + '\n')
    if options.plot:
        from .plot import draw
        draw(found, scenario, options.plot)
    return 0


if __name__ == '__main__':
    sys.exit(main())
