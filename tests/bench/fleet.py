"""./dev bench fleet: the control plane under load, and simulated rollouts of the whole fleet.

Keys: `control`, `rollout_s`, `false_rollback_ratio`, `detection_h`. The short form shows the last
two from few rollouts; `--long` makes 300 of each.
"""

import time
from typing import Any

import fleet_control

from flywheel.fleet_sim.scenario import Scenario
from flywheel.fleet_sim.simulation import Simulation
from flywheel.fleet_sim.study import summary, trials
from flywheel.rollout.plan import Plan, Stage

_SIZES = (2000, 20000)
# No stage ends before the ten days do, so all of them are simulated.
_ENDLESS = Plan(stages=tuple(Stage(each.share, hours) for each, hours in zip(
    Plan().stages, (200.0, 3000.0, 6000.0, 1e9), strict=True)), offline_after_s=24 * 3600.0)


def run(*, long: bool) -> dict[str, Any]:
    return (control(long=long) | rollout_time() | study(long=long))


def control(*, long: bool) -> dict[str, Any]:
    """2,000 robots that report every 10 s."""
    return {'control': fleet_control.run(robots=2000, seconds=60.0 if long else 11.0)}


def rollout_time() -> dict[str, Any]:
    """Ten days of a rollout, in seconds of this machine, by the size of the fleet."""
    found = {}
    for robots in _SIZES:
        began = time.perf_counter()
        outcome = Simulation(Scenario(robots=robots, plan=_ENDLESS)).run()
        found[str(robots)] = round(time.perf_counter() - began, 2)
        assert outcome.state == 'running', outcome.reason
    return {'rollout_s': found}


def study(*, long: bool) -> dict[str, Any]:
    """How often a good release is rolled back; hours until one with 1.5 x the events is."""
    found = summary(trials(Scenario(), (1.0, 1.5), 300 if long else 2))
    good, bad = found['1'], found['1.5']
    return {'false_rollback_ratio': good['rolled_back_ratio'],
            'false_rollback_interval': [good['low'], good['high']],
            'detection_h': {'p50': bad['hours_p50'], 'p90': bad['hours_p90'],
                            'max': bad['hours_max'], 'n': bad['rolled_back'],
                            'of': bad['rollouts']}}
