"""The plan of a rollout: stages, exposure, the test's error rate, limits. Pure."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import RolloutError

METRICS = ('e_stops', 'interventions')


@dataclass(frozen=True)
class Stage:
    """A share of the fleet (0 to 1), and the robot-hours under the new policy that it must see."""
    share: float
    min_exposure_h: float


# 5 % see enough to tell a ratio of 1.5 at 0.02 e-stops an hour (sequential.expected_hours).
STAGES = (Stage(0.01, 200.0), Stage(0.05, 3000.0), Stage(0.25, 6000.0), Stage(1.0, 20000.0))


@dataclass(frozen=True)
class Plan:
    """All that decides by itself.

    control_share: robots that keep the old release until the end, for comparison.
    min_control_h: robot-hours of control robots that each stage must see.
    alpha: the chance that a release as good as the old one is rolled back, over the whole rollout
        and both rates together.
    tolerated_ratio: new rate over old rate that still counts as good.
    hold_e_value: suspicion (1 none) from which a stage does not end, however long it lasted.
    max_failed_share: of the robots asked to load the release; more than that, and at least
        min_failed robots, is a stop.
    offline_after_s: silence after which a robot is called offline; which is not failed.
    """
    stages: tuple[Stage, ...] = STAGES
    control_share: float = 0.05
    min_control_h: float = 20.0
    alpha: float = 0.01
    tolerated_ratio: float = 1.0
    hold_e_value: float = 5.0
    max_failed_share: float = 0.2
    min_failed: int = 2
    offline_after_s: float = 900.0
    tested: tuple[str, ...] = field(default=METRICS)

    def __post_init__(self) -> None:
        _require(bool(self.stages), 'stages', self.stages, 'at least one')
        _require(bool(self.tested) and set(self.tested) <= set(METRICS), 'tested', self.tested,
                 f'some of {METRICS}')
        shares = [stage.share for stage in self.stages]
        _require(all(0 < share <= 1 for share in shares) and shares == sorted(set(shares)),
                 'stages', shares, 'rising shares above 0 and up to 1')
        _require(shares[-1] == 1, 'stages', shares, 'the last one is the whole fleet, 1')
        _require(all(_finite(stage.min_exposure_h) and stage.min_exposure_h > 0
                     for stage in self.stages), 'stages',
                 [stage.min_exposure_h for stage in self.stages], 'min_exposure_h above 0')
        _require(0 < self.control_share <= 0.5, 'control_share', self.control_share, '0 to 0.5')
        _require(0 < self.alpha <= 0.2, 'alpha', self.alpha, '0 to 0.2')
        _require(1 <= self.tolerated_ratio <= 2, 'tolerated_ratio', self.tolerated_ratio, '1 to 2')
        _require(self.hold_e_value > 1, 'hold_e_value', self.hold_e_value, 'above 1')
        _require(self.hold_e_value < len(self.tested) / self.alpha, 'hold_e_value',
                 self.hold_e_value, 'below the number of rates over alpha')
        _require(0 < self.max_failed_share <= 1, 'max_failed_share', self.max_failed_share,
                 '0 to 1')
        _require(self.min_failed >= 1, 'min_failed', self.min_failed, 'at least 1')
        _require(_finite(self.min_control_h) and self.min_control_h > 0, 'min_control_h',
                 self.min_control_h, 'above 0')
        _require(_finite(self.offline_after_s) and self.offline_after_s > 0, 'offline_after_s',
                 self.offline_after_s, 'above 0')

    @property
    def stop_e_value(self) -> float:
        """alpha is shared out evenly among the rates (Bonferroni)."""
        return len(self.tested) / self.alpha

    def to_mapping(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_mapping(content: Mapping[str, Any]) -> Plan:
    """A plan of JSON or YAML; what is absent is the default. Raises RolloutError."""
    if not isinstance(content, Mapping):
        raise RolloutError(f'a plan is a mapping, not {type(content).__name__}')
    known = {each.name: each for each in dataclasses.fields(Plan)}
    if unknown := sorted(set(content) - set(known)):
        raise RolloutError(f'the plan has {unknown[0]!r}, which is none of {sorted(known)}')
    values = dict(content)
    try:
        if 'stages' in values:
            values['stages'] = tuple(
                Stage(float(each['share']), float(each['min_exposure_h']))
                for each in values['stages'])
        if 'tested' in values:
            values['tested'] = tuple(map(str, values['tested']))
        for name in set(values) - {'stages', 'tested'}:
            values[name] = int(values[name]) if name == 'min_failed' else float(values[name])
    except (KeyError, TypeError, ValueError) as error:
        raise RolloutError(f'the plan cannot be read: {error!r}') from None
    return Plan(**values)


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise RolloutError(f'the plan\'s {name} is {value}: {rule}')
