"""What a stage's figures mean: go on, wait, or stop and roll back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .plan import Plan


class Verdict(StrEnum):
    ADVANCE = 'advance'
    HOLD = 'hold'
    STOP = 'stop'


@dataclass(frozen=True)
class Stand:
    """Where a rollout stands.

    treated_h, control_h: exposure within the present stage, robot-hours.
    e_values: by rate, over the whole rollout.
    asked, loaded, failed: treated robots that were told the release, run it, reported that they
        cannot. An offline robot is in `asked` alone.
    """
    stage: int
    treated_h: float
    control_h: float
    e_values: Mapping[str, float]
    asked: int
    loaded: int
    failed: int


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reasons: tuple[str, ...]


def decide(plan: Plan, stand: Stand) -> Decision:
    """Stop wins over hold, hold over advance; each with all of its reasons."""
    stops = [f'{name} are too frequent: e-value {stand.e_values[name]:.3g}, limit '
             f'{plan.stop_e_value:.3g}'
             for name in plan.tested if stand.e_values[name] >= plan.stop_e_value]
    told = stand.loaded + stand.failed
    if stand.failed >= plan.min_failed and stand.failed > plan.max_failed_share * told:
        stops.append(f'{stand.failed} of the {told} robots that answered could not load it')
    if stops:
        return Decision(Verdict.STOP, tuple(stops))
    needed = plan.stages[stand.stage].min_exposure_h
    holds = []
    if stand.treated_h < needed:
        holds.append(f'{stand.treated_h:.1f} of {needed:g} h driven with it in this stage')
    if stand.control_h < plan.min_control_h:
        holds.append(f'{stand.control_h:.1f} of {plan.min_control_h:g} h driven by control robots')
    holds += [f'{name} are suspicious: e-value {stand.e_values[name]:.3g}, '
              f'{plan.hold_e_value:g} holds'
              for name in plan.tested if stand.e_values[name] >= plan.hold_e_value]
    if holds:
        return Decision(Verdict.HOLD, tuple(holds))
    return Decision(Verdict.ADVANCE, (f'{stand.treated_h:.1f} h without cause for concern',))
