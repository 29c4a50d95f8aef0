"""What is simulated: the fleet, its policies' rates, its faults."""

from dataclasses import dataclass, field

from flywheel.rollout.plan import Plan


@dataclass(frozen=True)
class Faults:
    """Shares are chances per report or per load.

    offline: that a robot goes silent, for offline_h (least and most). It drives on meanwhile.
    duplicate: that a report is sent again, at once and once more much later.
    failed_load: that loading the candidate fails; it is tried again after an hour.
    skew_h: robots' wall clocks are wrong by up to this; drift: their oscillators, as a share.
    outages: times (hours) at which the control plane is killed in the middle of a transaction,
        and for how long it is away.
    """
    offline: float = 0.02
    offline_h: tuple[float, float] = (6.0, 72.0)
    duplicate: float = 0.05
    failed_load: float = 0.05
    skew_h: float = 48.0
    drift: float = 1e-4
    outages: tuple[tuple[float, float], ...] = ((20.0, 2.0), (61.0, 0.5), (130.0, 6.0))


NO_FAULTS = Faults(0.0, (0.0, 0.0), 0.0, 0.0, 0.0, 0.0, ())


@dataclass(frozen=True)
class Scenario:
    """e_stops_per_h, interventions_per_h: of the old release, an hour driven. ratio: of the new
    one's rates to those. spread: coefficient of variation of the robots' own rates (gamma).
    duty: share of the time that a robot drives. day: how much more happens at noon than on average.
    Reports are totals, so a simulated robot may report every few hours where a real one does so
    every ten seconds: nothing is lost by it but the delay.
    """
    robots: int = 2000
    days: float = 10.0
    ratio: float = 1.0
    e_stops_per_h: float = 0.02
    interventions_per_h: float = 0.05
    spread: float = 0.2
    duty: float = 0.5
    day: float = 0.3
    report_h: float = 12.0
    evaluate_h: float = 4.0
    seed: int = 0
    plan: Plan = field(default_factory=lambda: Plan(offline_after_s=24 * 3600.0))
    faults: Faults = field(default_factory=Faults)
