"""Features and likeness of cases from real bags; the ledger of what became of them."""

import dataclasses
import itertools

import numpy as np
import pytest
from data_cases import CONFIG, NOON_NS, drive, write_case
from hypothesis import given
from hypothesis import strategies as st

from flywheel.catalogue import features, similar
from flywheel.catalogue.errors import CatalogueError
from flywheel.catalogue.index import Index
from flywheel.catalogue.ingest import ingest
from flywheel.catalogue.lineage import Ledger, Thing, of_case
from flywheel.catalogue.objects import open_objects
from flywheel.catalogue.search import Query, Searcher
from isaac_bridge.robot import read_robot

ROBOT = read_robot(CONFIG / 'robots/amr.yaml')


@pytest.fixture(scope='module')
def bucket(tmp_path_factory):
    """Two drives that are almost the same, one slower past something near, as the bucket has it."""
    root = tmp_path_factory.mktemp('cases')
    return root, [write_case(root, drive(stamp_ns=NOON_NS + n * 10**10, camera=False, **about),
                             stamp_ns=NOON_NS + n * 10**10)
                  for n, about in enumerate(({'speed': 0.5}, {'speed': 0.52},
                                             {'speed': 0.2, 'near_m': 0.4}))]


def test_features_are_what_was_driven(bucket):
    found = features.of_case(bucket[1][0], ROBOT)
    assert (found.start_x, found.start_y) == pytest.approx((0.0, 0.0), abs=0.02)
    assert found.speed_mps == pytest.approx(0.5, abs=1e-3)
    assert found.nearest_m == pytest.approx(2.0)
    assert found.path_m == pytest.approx(1.5, abs=0.05)
    assert (found.people, len(found.sketch)) == (0, features.SECTORS)
    assert found == features.of_case(bucket[1][0], ROBOT), 'the same again'


def test_a_sketch_turns_with_the_view():
    angles = np.linspace(-np.pi, np.pi, 360, endpoint=False)
    scan = np.full(360, np.inf)
    scan[180] = 1.0                     # straight ahead
    seen = features.sketch(scan, angles)
    assert seen[features.SECTORS // 2] == 1.0
    assert np.count_nonzero(seen == features.FARTHEST_M) == features.SECTORS - 1


def test_near_duplicates_are_one_group_in_any_order(bucket):
    found = [features.of_case(folder, ROBOT) for folder in bucket[1]]
    first, second, third = (each.case_id for each in found)
    for order in itertools.permutations(found):
        assert similar.groups(order) == {first: first, second: first, third: third}
    assert [name for name, _ in similar.nearest(found, first)] == [second, third]
    other = dataclasses.replace(found[1], cause='estop')
    assert similar.groups([found[0], other])[second] == second, 'of another cause'
    with pytest.raises(CatalogueError, match='has no features'):
        similar.nearest(found, 'none')


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(0, 1)), max_size=30))
def test_groups_are_what_chains_of_near_pairs_are(values):
    made = [features.Features(f'case-{n:03d}', 1, 'x', x, 0.0, 0.0, v, 0.0, 0.0, 1.0, 0, 7.0,
                              [1.0] * features.SECTORS) for n, (x, v) in enumerate(values)]
    found = similar.groups(made)
    rows = similar.vectors(made)
    for a, b in itertools.combinations(range(len(made)), 2):
        if similar.distances(rows[a], rows[[b]])[0] <= similar.NEAR_DUPLICATE:
            assert found[made[a].case_id] == found[made[b].case_id]
    for case, group in found.items():
        assert found[group] == group <= case


def test_places_are_found_by_features(bucket, tmp_path):
    root, folders = bucket
    index = Index(tmp_path / 'index')
    ingest(open_objects(root.as_uri()), index)
    here = Query(place=(-1.0, -1.0, 1.0, 1.0))
    searcher = Searcher(index)
    assert searcher.search(here) == [], 'no features yet'
    found = [features.of_case(folder, ROBOT) for folder in folders]
    assert features.add(index, found[:2]) == 2
    assert features.add(index, found) == 1
    assert features.of_index(index) == sorted(found, key=lambda each: each.case_id)
    searcher.refresh()
    assert len(searcher.search(here)) == 3
    assert searcher.search(Query(place=(5.0, 5.0, 6.0, 6.0))) == []
    assert len(searcher.search(dataclasses.replace(here, cause='protective_field', limit=2))) == 2


WHO = ('anna', '2026-11-24T00:00:00Z')
CHAIN = (('case', 'c1', ()), ('case', 'c2', ()), ('dataset', 'd1', (('case', 'c1'),)),
         ('dataset', 'd2', (('case', 'c1'), ('case', 'c2'))), ('run', 'r1', (('dataset', 'd2'),)),
         ('gate', 'g1', (('run', 'r1'), ('case', 'c2'))), ('release', 'v2', (('gate', 'g1'),)),
         ('robot', 'amr-1', (('release', 'v2'),)), ('robot', 'amr-2', (('release', 'v2'),)))


def thing(kind, name, parents, sha256='a' * 64):
    return Thing(kind, name, '' if kind == 'robot' else sha256, tuple(parents), *WHO)


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / 'lineage.jsonl')
    for each in CHAIN:
        assert made.add(thing(*each))
    return made


def test_lineage_goes_both_ways(ledger):
    assert ledger.results('case', 'c1') == [
        ('dataset', 'd1'), ('dataset', 'd2'), ('run', 'r1'), ('gate', 'g1'), ('release', 'v2'),
        ('robot', 'amr-1'), ('robot', 'amr-2')]
    assert ledger.sources('robot', 'amr-1') == [
        ('release', 'v2'), ('gate', 'g1'), ('case', 'c2'), ('run', 'r1'), ('dataset', 'd2'),
        ('case', 'c1')]
    with pytest.raises(CatalogueError, match='run r9: is not in the ledger'):
        ledger.sources('run', 'r9')


def test_the_same_thing_again_is_no_new_line(ledger):
    before = len(ledger.things())
    assert not ledger.add(thing(*CHAIN[0]))
    assert len(ledger.things()) == before
    ledger.add(thing('release', 'v3', [('gate', 'g1')]))
    assert ledger.add(thing('robot', 'amr-1', [('release', 'v3')])), 'got another release'
    assert ('release', 'v2') in ledger.sources('robot', 'amr-1')


@pytest.mark.parametrize(('wrong', 'sentence'), [
    (thing('case', 'c1', (), 'b' * 64), 'has another digest'),
    (thing('run', 'r2', [('dataset', 'd9')]), 'its dataset d9 is not in the ledger'),
    (thing('case', 'c3', [('release', 'v2')]), 'is not made of a release'),
    (thing('case', '../c3', ()), 'is no id'),
    (thing('model', 'm', ()), 'must be one of'),
    (thing('run', 'r2', (), ''), 'is none')])
def test_what_does_not_fit_is_refused(ledger, wrong, sentence):
    before = ledger.things()
    with pytest.raises(CatalogueError, match=sentence):
        ledger.add(wrong)
    assert ledger.things() == before


@pytest.mark.parametrize('change', [
    lambda lines: lines.pop(3), lambda lines: lines.insert(2, lines[1]),
    lambda lines: lines.__setitem__(2, lines[2].replace('anna', 'bert')),
    lambda lines: lines.__setitem__(4, 'nonsense\n'),
    lambda lines: lines.__setitem__(-1, lines[-1][:-9])])
def test_a_changed_ledger_is_seen(ledger, change):
    lines = ledger._path.read_text().splitlines(keepends=True)
    change(lines)
    ledger._path.write_text(''.join(lines))
    with pytest.raises(CatalogueError, match=r'line \d+'):
        ledger.things()


def test_a_case_comes_from_the_index(bucket, tmp_path):
    root, _ = bucket
    index = Index(tmp_path / 'index')
    ingest(open_objects(root.as_uri()), index)
    searcher, made = Searcher(index), Ledger(tmp_path / 'lineage.jsonl')
    for found in searcher.search(Query()):
        assert made.add(of_case(found, *WHO))
    assert len(made.things()) == 3
