"""A gate as one HTML page: the verdict, its figures, its pictures and a film."""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files

import jinja2

from ..episode.drive import Episode
from ..robot import Robot
from ..scenario import Scenario
from . import pictures
from .film import film
from .plan import Suite
from .record import Record
from .verdict import Verdict


def page(suite: Suite, robot: Robot, cases: Sequence[Scenario], verdict: Verdict, record: Record,
         candidate: Mapping[tuple[str, int], Episode],
         base: Mapping[tuple[str, int], Episode]) -> str:
    """The HTML, with everything inside and without scripts."""
    scenario, seed = pictures.pick(verdict, suite, cases, candidate, base)
    key = scenario.name, seed
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True).from_string(
            files('isaac_bridge.suite').joinpath('gate.html.j2').read_text('utf-8'))
    return template.render(
        record=record, verdict=verdict, comparison=verdict.comparison, suite=suite,
        scenarios=_by_scenario(candidate, base),
        rates=_inline(pictures.rates(suite, verdict)),
        clearances=_inline(pictures.clearances(candidate, base)),
        drives=_inline(pictures.drives(scenario, candidate[key], base[key])),
        film=_inline(film(scenario, robot, base[key], candidate[key])),
        shown=f'{scenario.name}, seed {seed}',
        worst=sorted((episode for episode in candidate.values() if not episode.success),
                     key=lambda one: (one.scenario, one.seed))[:20])


def _by_scenario(candidate: Mapping[tuple[str, int], Episode],
                 base: Mapping[tuple[str, int], Episode]) -> list[dict[str, object]]:
    names = list(dict.fromkeys(name for name, _ in candidate))
    rows: list[dict[str, object]] = []
    for name in names:
        ours = [one for (scenario, _), one in candidate.items() if scenario == name]
        theirs = [one for (scenario, _), one in base.items() if scenario == name]
        rows.append({
            'name': name, 'episodes': len(ours),
            'candidate': sum(one.success for one in ours), 'base': sum(one.success
                                                                       for one in theirs),
            'candidate_stops': sum(one.stops for one in ours) / len(ours),
            'base_stops': sum(one.stops for one in theirs) / len(theirs),
            'candidate_s': sum(one.seconds for one in ours) / len(ours),
            'base_s': sum(one.seconds for one in theirs) / len(theirs),
            'candidate_gap': min(one.min_clearance_m for one in ours),
            'base_gap': min(one.min_clearance_m for one in theirs)})
    return rows


def _inline(data: bytes) -> str:
    return base64.b64encode(data).decode()
