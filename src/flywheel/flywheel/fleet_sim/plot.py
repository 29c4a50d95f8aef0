"""The study as a picture: what share of rollouts was rolled back by which hour."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from .scenario import Scenario
from .study import Trial, summary

_COLOURS = ('#1b7f5c', '#c8781e', '#b3262e', '#4456a6')


def draw(trials: Sequence[Trial], scenario: Scenario, file: Path) -> None:
    """PNG: share rolled back over time by ratio; exposure that it took."""
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    told = summary(trials)
    figure, (over_time, exposure) = plt.subplots(1, 2, figsize=(12, 4.6),
                                                 width_ratios=(3, 2), constrained_layout=True)
    end_h = scenario.days * 24
    for colour, (name, values) in zip(_COLOURS, told.items(), strict=False):
        own = [each for each in trials if f'{each.ratio:g}' == name]
        hours = sorted(each.ended_h or 0.0 for each in own if each.rolled_back)
        steps = [0.0, *hours, end_h]
        shares = [100 * rank / len(own) for rank in range(len(hours) + 1)]
        label = (f'as good as the old one: {values["rolled_back"]} of {len(own)} rolled back'
                 if name == '1' else f'{name} x the events: {values["rolled_back"]} of {len(own)}'
                 + (f', half within {values["hours_p50"]:.0f} h' if hours else ''))
        over_time.step(steps, [*shares, shares[-1]], where='post', color=colour, label=label, lw=2)
    over_time.axhline(100 * scenario.plan.alpha, color='0.5', lw=1, ls='--',
                      label=f'alpha, {100 * scenario.plan.alpha:g} %')
    over_time.set(xlabel='hours after the start', ylabel='rolled back by itself, %',
                  xlim=(0, end_h), ylim=(-2, 102),
                  title=f'{scenario.robots:,} robots, faults included')
    over_time.legend(loc='center right', fontsize=9)
    bad = [name for name in told if name != '1']
    exposure.boxplot([[each.treated_h for each in trials
                       if f'{each.ratio:g}' == name and each.rolled_back] for name in bad],
                     orientation='horizontal', widths=0.5, whis=(5, 95), showfliers=False)
    exposure.set_yticks(range(1, len(bad) + 1), [f'{name} x' for name in bad])
    exposure.set(xlabel='hours driven with the release until it was rolled back', xscale='log',
                 title='exposure that it took (5, 25, 50, 75, 95 %)')
    for axes in (over_time, exposure):
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)
