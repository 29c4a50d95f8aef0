"""Is the new policy's rate of safety events higher than the old one's? Asked at any time. Pure.

In each interval the treated robots drove T hours and had x events, the control robots C hours and
y events, both Poisson, at rates that may change with the hour, the day and the season, but by the
same factor for both. Given n = x + y, x is binomial with
    p(r) = r T / (r T + C),    r = treated rate over control rate
(J. Przyborowski, H. Wilenski, Biometrika 31, 1940, p. 313), in which the common rate is gone. The
likelihood ratio of r against the null hypothesis's r0, multiplied over the intervals,
    L(r) = prod (p(r) / p(r0))^x  ((1 - p(r)) / (1 - p(r0)))^y,
is the statistic of A. Wald's sequential probability ratio test (Ann. Math. Statist. 16, 1945,
p. 117). Its average over several r > r0 (a mixture: H. Robbins, Ann. Math. Statist. 41, 1970,
p. 1397) is a nonnegative supermartingale with mean at most 1 for each true r <= r0: an e-process.
By Ville's inequality it ever reaches 1 / alpha with a chance of at most alpha, however often one
looks and whenever one stops (A. Ramdas et al., Statist. Sci. 38, 2023, p. 576).

What has to hold: exposure and events of an interval belong together (robots report both in one
record), and the two groups are drawn by lot.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

RATIOS = (1.2, 1.35, 1.5, 1.75, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class RateTest:
    """The evidence so far.

    tolerated_ratio: r0. log_ratios: log L(r) for each r = r0 * RATIOS.
    """
    tolerated_ratio: float = 1.0
    log_ratios: tuple[float, ...] = (0.0,) * len(RATIOS)

    def __post_init__(self) -> None:
        if len(self.log_ratios) != len(RATIOS):
            raise ValueError(f'{len(self.log_ratios)} ratios, {len(RATIOS)} are expected')

    def after(self, treated_events: int, control_events: int, treated_h: float,
              control_h: float) -> 'RateTest':
        """With one interval more; both groups must have driven in it, else ValueError."""
        if treated_h <= 0 or control_h <= 0:
            raise ValueError('an interval in which one group did not drive compares nothing')
        if treated_events < 0 or control_events < 0:
            raise ValueError('events are counts')
        null = self.tolerated_ratio
        grown = []
        for before, factor in zip(self.log_ratios, RATIOS, strict=True):
            ratio = null * factor
            # p(r) / p(r0) = (r / r0) * d; the other factor is d alone.
            log_d = math.log((null * treated_h + control_h) / (ratio * treated_h + control_h))
            grown.append(before + treated_events * (math.log(factor) + log_d)
                         + control_events * log_d)
        return replace(self, log_ratios=tuple(grown))

    @property
    def log_e_value(self) -> float:
        """Of the mixture with equal weights."""
        top = max(self.log_ratios)
        return top + math.log(sum(math.exp(each - top) for each in self.log_ratios)
                              / len(self.log_ratios))

    @property
    def e_value(self) -> float:
        """1 says nothing, 100 is evidence at alpha = 0.01; at most 1e300."""
        return math.exp(min(self.log_e_value, 690.0))


def expected_hours(rate_per_h: float, ratio: float, e_value: float,
                   treated_to_control: float = 0.0) -> float:
    """About how many treated hours until a true ratio is found; for planning stages.

    The threshold log(e_value * number of ratios) over the mean growth of log L(ratio) per treated
    hour (Wald's approximation). treated_to_control: T / C.
    """
    share = treated_to_control
    with_ratio = ratio * rate_per_h
    log_d = math.log((share + 1) / (ratio * share + 1))
    control_per_h = rate_per_h / share if share > 0 else 0.0
    # For C without end, control's part tends to -(ratio - 1) * rate.
    control = control_per_h * log_d if share > 0 else -(ratio - 1) * rate_per_h
    growth = with_ratio * (math.log(ratio) + log_d) + control
    return math.log(e_value * len(RATIOS)) / growth


def rates(events: Sequence[int], hours: Sequence[float]) -> list[float | None]:
    """Events an hour, None where nobody drove."""
    return [count / span if span > 0 else None for count, span in zip(events, hours, strict=True)]
