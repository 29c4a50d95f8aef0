"""May the candidate replace the base? Decided by figures that are stated, never by a person's eye.

    suite   no worse: the lower bound of (candidate - base), paired, is above -margin
    cases   better: what the base failed, the candidate passes, in every seed
    safety  nobody is touched in motion, by the candidate, anywhere
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..episode.drive import Episode
from .plan import Entry, Suite
from .runner import Job
from .statistics import Interval, Paired, difference, mcnemar, paired, smallest_effect, wilson

FEWEST_EPISODES = 100
# With no pair that differs nothing is known of how many would; this share is assumed.
_ASSUMED_SHARE = 0.05


@dataclass(frozen=True)
class Comparison:
    """Of the same seeds. rates: 95 % by default, as the suite says."""

    pairs: Paired
    candidate: Interval
    base: Interval
    difference: Interval
    p_value: float
    smallest_effect: float


@dataclass(frozen=True)
class CaseVerdict:
    """One scenario that was made of a case."""

    name: str
    seeds: int
    base_passed: int
    candidate_passed: int

    @property
    def improved(self) -> bool:
        """Every seed passes now, and not every one did before."""
        return self.candidate_passed == self.seeds > self.base_passed


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: tuple[str, ...]        # why not; empty when it passed
    comparison: Comparison
    cases: tuple[CaseVerdict, ...]
    touched: int                    # episodes of the candidate in which somebody was, in motion


def compare(candidate: Sequence[Episode], base: Sequence[Episode],
            confidence: float) -> Comparison:
    """Episodes of both in the same order of scenarios and seeds."""
    pairs = paired([one.success for one in candidate], [one.success for one in base])
    differing = (pairs.candidate_only + pairs.base_only) / pairs.n
    return Comparison(
        pairs, wilson(pairs.both + pairs.candidate_only, pairs.n, confidence),
        wilson(pairs.both + pairs.base_only, pairs.n, confidence),
        difference(pairs, confidence), mcnemar(pairs),
        smallest_effect(pairs.n, max(differing, _ASSUMED_SHARE), confidence))


def judge(suite: Suite, cases: Sequence[Entry], candidate: Mapping[tuple[str, int], Episode],
          base: Mapping[tuple[str, int], Episode]) -> Verdict:
    """Episodes by (scenario, seed), of the suite and of the cases."""
    keys = [(entry.scenario.name, seed) for entry in suite.entries for seed in entry.seeds]
    comparison = compare([candidate[key] for key in keys], [base[key] for key in keys],
                         suite.confidence)
    reasons = []
    if comparison.pairs.n < FEWEST_EPISODES:
        reasons.append(f'{comparison.pairs.n} episodes are fewer than {FEWEST_EPISODES}')
    if comparison.difference.low <= -suite.margin:
        reasons.append(
            f'the suite may be worse: {comparison.difference.low:+.3f} at the least, '
            f'{-suite.margin:+.3f} is the margin')
    judged = tuple(_case(entry, candidate, base) for entry in cases)
    for case in judged:
        if not case.improved:
            reasons.append(_why(case))
    touched = sum(any(contact.moving for contact in episode.contacts)
                  for episode in candidate.values())
    if touched:
        reasons.append(f'somebody was touched in motion in {touched} episodes')
    return Verdict(not reasons, tuple(reasons), comparison, judged, touched)


def by_key(found: Mapping[Job, Episode]) -> dict[tuple[str, int], Episode]:
    return {(job.scenario.name, job.seed): episode for job, episode in found.items()}


def _case(entry: Entry, candidate: Mapping[tuple[str, int], Episode],
          base: Mapping[tuple[str, int], Episode]) -> CaseVerdict:
    name = entry.scenario.name
    return CaseVerdict(name, len(entry.seeds),
                       sum(base[name, seed].success for seed in entry.seeds),
                       sum(candidate[name, seed].success for seed in entry.seeds))


def _why(case: CaseVerdict) -> str:
    if case.candidate_passed < case.seeds:
        return f'{case.name}: passes in {case.candidate_passed} of {case.seeds} seeds only'
    return f'{case.name}: the base passes it in every seed already, so it shows no improvement'
