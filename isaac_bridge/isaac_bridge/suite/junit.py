"""A gate's episodes as a JUnit file, which every CI shows."""

from collections.abc import Mapping
from xml.etree import ElementTree

from ..episode.drive import Episode
from .verdict import Verdict


def junit(suite_name: str, verdict: Verdict,
          candidate: Mapping[tuple[str, int], Episode]) -> bytes:
    """One test a scenario and seed of the candidate, and one for the verdict."""
    root = ElementTree.Element('testsuites')
    failed = sum(not episode.success for episode in candidate.values())
    # An episode that fails fails no build: the base may fail it too. The verdict decides.
    suite = ElementTree.SubElement(
        root, 'testsuite', name=suite_name, tests=str(len(candidate) + 1),
        failures=str(int(not verdict.passed)), skipped=str(failed),
        time=f'{sum(episode.seconds for episode in candidate.values()):.3f}')
    gate = ElementTree.SubElement(suite, 'testcase', classname='gate', name='verdict')
    if not verdict.passed:
        ElementTree.SubElement(gate, 'failure', message='; '.join(verdict.reasons))
    for (scenario, seed), episode in sorted(candidate.items()):
        case = ElementTree.SubElement(suite, 'testcase', classname=scenario, name=f'seed_{seed}',
                                      time=f'{episode.seconds:.3f}')
        if not episode.success:
            ElementTree.SubElement(case, 'skipped', message='; '.join(episode.broken))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='utf-8', xml_declaration=True)
