"""Data sets from real bags: resampling, both layouts, digests, splits, what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_cases import AMR, MS, NOON_NS, SO100, WORDS, drive, joints, string, trajectory, write_case
from hypothesis import given
from hypothesis import strategies as st

from edge_case_recorder import manifest
from flywheel.dataset import features, labels, split, streams, video
from flywheel.dataset.checker import check
from flywheel.dataset.errors import DatasetError
from flywheel.dataset.export import Case, Options, export
from flywheel.dataset.resample import Grid, instants, resample
from policy_client.observation import Sample

SHARED = Path(__file__).resolve().parents[4] / 'shared/data/groot'
LAYOUTS = ('v2', 'v3')


@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    """Three cases; the first two are one group."""
    root = tmp_path_factory.mktemp('cases')
    return [Case(write_case(root, drive(stamp_ns=NOON_NS + n * 10**10, speed=0.4 + n / 10),
                            stamp_ns=NOON_NS + n * 10**10), 'a' if n < 2 else 'b')
            for n in range(3)]


def made(cases, output, layout='v2', **options):
    return export(cases, output, AMR, WORDS, labels.Recorded(AMR), Options(
        layout=layout, validation_share=0.5, **options))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_an_exported_data_set_has_no_defects(cases, tmp_path, layout):
    done = made(cases, tmp_path / 'set', layout)
    assert check(tmp_path / 'set') == []
    assert (done.episodes, dict(done.refused)) == (3, {})
    assert done.frames > 60


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_same_cases_give_the_same_digest_in_any_order(cases, tmp_path, layout):
    one = made(cases, tmp_path / 'one', layout)
    other = made(cases[::-1], tmp_path / 'other', layout)
    assert one.sha256 == other.sha256
    assert (tmp_path / 'one/provenance.json').read_bytes() == (
        tmp_path / 'other/provenance.json').read_bytes()
    assert made(cases[:2], tmp_path / 'less', layout).sha256 != one.sha256


def test_the_content_digest_is_the_same_in_both_layouts(cases, tmp_path):
    two, three = (made(cases, tmp_path / layout, layout) for layout in LAYOUTS)
    assert two.content_sha256 == three.content_sha256
    assert two.sha256 != three.sha256


def test_a_group_is_on_one_side_only(cases, tmp_path):
    made(cases, tmp_path / 'set')
    told = json.loads((tmp_path / 'set/provenance.json').read_text())
    sides = {each['case_id']: each['split'] for each in told['episodes']}
    first, second, third = (sides[case.folder.name] for case in cases)
    assert first == second != third
    info = json.loads((tmp_path / 'set/meta/info.json').read_text())
    assert set(info['splits']) == {'train', 'validation'}


@given(st.sets(st.text(min_size=1, max_size=5), max_size=20), st.floats(0.0, 0.5), st.integers())
def test_a_split_leaves_nobody_out_and_neither_side_empty(groups, share, seed):
    sides = split.split(groups, share, seed)
    assert sides.keys() == groups
    if len(groups) > 1 and share > 0.0:
        assert set(sides.values()) == {split.TRAIN, split.VALIDATION}


@given(st.sets(st.text(min_size=1, max_size=5), min_size=3, max_size=20))
def test_a_group_keeps_its_side_when_others_come(groups):
    """But for the one that is moved so that a side is not empty."""
    before = split.split(sorted(groups)[1:], 0.3)
    after = split.split(groups, 0.3)
    assert sum(after[name] != side for name, side in before.items()) <= 2


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 50))
def test_no_row_knows_the_future(steps, fps):
    """Each grid instant takes the newest at or before it, by a search that is not the code's."""
    times = np.cumsum(steps).tolist()
    heard = streams.Streams()
    for at in times:
        heard.hear('x', Sample(at, at * MS))
    for at_ns in instants((times[0] * MS, times[-1] * MS), fps):
        assert heard.newest('x', at_ns).message == max(t for t in times if t * MS <= at_ns)
    assert heard.newest('x', times[0] * MS - 1) is None


def test_rows_are_the_newest_of_each_instant(tmp_path):
    bag = write_case(tmp_path, drive())
    heard = streams.of_bag(bag, (*AMR.topics, 'policy/cmd_vel'))
    run, = resample(heard, AMR, WORDS, Grid(fps=10)).runs
    frames = run.pictures['video.front'][:, 0, 0, 0].tolist()
    assert frames == list(range(len(frames))), 'the frame that came in that instant, no later one'
    commands = run.actions[:, 1] * 1000
    assert commands.tolist() == pytest.approx([3 * k for k in range(len(frames))], abs=1e-3)
    assert run.states[:, 0] == pytest.approx(0.5)
    assert run.states[:, 2] == pytest.approx(np.minimum(10.0, 20.0 - run.states[:, 0] * np.arange(
        len(frames)) / 10), abs=1e-4), 'the goal as it is seen from the base, clipped'


def test_a_gap_ends_the_episode(tmp_path):
    bag = write_case(tmp_path, drive(4.0, holes=[(1.5, 2.5)]))
    found = resample(streams.of_bag(bag, (*AMR.topics, 'policy/cmd_vel')), AMR, WORDS, Grid())
    assert len(found.runs) == 2
    assert set(found.gaps) == {'state.velocity: stale'}
    assert sum(len(run.states) for run in found.runs) + found.gaps.total() == 40


def test_without_a_camera_pictures_are_masked_as_on_the_robot(tmp_path):
    bag = write_case(tmp_path, drive(camera=False))
    run, = resample(streams.of_bag(bag, (*AMR.topics, 'policy/cmd_vel')), AMR, WORDS,
                    Grid(image_size=(32, 48))).runs
    assert not run.pictures['video.front'].any()


def test_joints_go_back_through_scale_and_offset(tmp_path):
    names = ['shoulder_pan', 'shoulder_lift', 'elbow_flex', 'wrist_flex', 'wrist_roll', 'gripper']
    messages = [('task', NOON_NS, string('pick the cube'))]
    from data_cases import picture
    for k in range(60):
        at_ns = NOON_NS + k * 33 * MS
        pose = [0.5, 0.1, 0.0, -0.2, 0.3, 1.74]
        messages += [('joint_states', at_ns, joints(at_ns, names, pose)),
                     ('policy/joint_trajectory', at_ns, trajectory(at_ns, names[::-1], pose[::-1])),
                     ('camera/webcam/image_raw', at_ns,
                      picture(at_ns, np.zeros((16, 16, 3), np.uint8)))]
    bag = write_case(tmp_path / 'in', messages, stamp_ns=NOON_NS)
    done = export([Case(bag)], tmp_path / 'set', SO100, WORDS, labels.Recorded(SO100),
                  Options(grid=Grid(fps=30)))
    assert done.episodes == 1
    assert check(tmp_path / 'set') == []
    rows = pq.read_table(next((tmp_path / 'set/data').rglob('*.parquet')))
    state, action = rows['observation.state'][5].as_py(), rows['action'][5].as_py()
    assert state == pytest.approx([26.178, 5.747, 0.0, -12.121, 10.949, 100.0], abs=1e-2)
    assert action == pytest.approx(state, abs=0.01), 'to stay where one is, is said as one is'


def test_video_is_h264_and_the_same_bytes_again(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), np.uint8)
    video.write(tmp_path / 'a.mp4', [frames], 10)
    video.write(tmp_path / 'b.mp4', [frames[:7], frames[7:]], 10)
    assert (tmp_path / 'a.mp4').read_bytes() == (tmp_path / 'b.mp4').read_bytes()
    codec, size, times = video.times(tmp_path / 'a.mp4')
    assert (codec, size) == ('h264', (32, 48))
    assert times == pytest.approx(np.arange(20) / 10, abs=1e-6)


def test_decoded_frames_are_the_pictures(cases, tmp_path):
    made(cases[:1], tmp_path / 'set')
    seen = [frame for _, frame in video.frames(next((tmp_path / 'set/videos').rglob('*.mp4')))]
    heard = streams.of_bag(cases[0].folder, (*AMR.topics, 'policy/cmd_vel'))
    run, = resample(heard, AMR, WORDS, Grid()).runs
    difference = np.abs(np.stack(seen).astype(int) - run.pictures['video.front'].astype(int))
    assert difference.mean() < 6.0


def test_labels_are_a_persons_commands_where_there_are_any(tmp_path):
    bag = write_case(tmp_path / 'in', drive(teleop=True))
    by_hand = labels.Recorded(AMR, teleop=True)
    done = export([Case(bag)], tmp_path / 'set', AMR, WORDS, by_hand)
    told = json.loads((done.folder / 'provenance.json').read_text())
    assert told['labels'] == {'source': 'teleop', 'topics': ['teleop/cmd_vel']}
    with pytest.raises(DatasetError, match='no message on policy/cmd_vel to take labels from'):
        export([Case(bag)], tmp_path / 'other', AMR, WORDS, labels.Recorded(AMR))


REDACTION = {'plugin': 'opencv', 'version': '1', 'hides': 'faces', 'topics': [],
             'messages_changed': 1, 'messages_left_out': 0}


def test_redacted_cases_are_refused_or_go_without_video(cases, tmp_path):
    hidden = Case(write_case(tmp_path / 'in', drive(), redaction=REDACTION, robot_id='robot_8'))
    done = made([*cases, hidden], tmp_path / 'refused')
    assert list(done.refused) == [hidden.folder.name]
    assert 'is redacted (faces)' in done.refused[hidden.folder.name]
    done = made([*cases, hidden], tmp_path / 'taken', redacted='without_video')
    assert (done.episodes, list(tmp_path.glob('taken/**/*.mp4'))) == (4, [])
    assert check(done.folder) == []
    assert 'observation.images.front' not in (done.folder / 'meta/info.json').read_text()


def test_a_changed_bag_is_refused_by_name(tmp_path):
    case = write_case(tmp_path / 'in', drive())
    bag = next(case.glob('*.mcap'))
    bag.write_bytes(bag.read_bytes()[:-1] + b'x')
    with pytest.raises(DatasetError, match='is not the file that its manifest names'):
        export([Case(case)], tmp_path / 'set', AMR, WORDS, labels.Recorded(AMR))
    assert not (tmp_path / 'set').exists()


def test_a_data_set_is_never_written_over(cases, tmp_path):
    made(cases[:1], tmp_path / 'set')
    with pytest.raises(DatasetError, match='exists already'):
        made(cases[:1], tmp_path / 'set')


@pytest.mark.parametrize('wrong', [
    {'layout': 'v9'}, {'redacted': 'blur'}])
def test_options_are_checked(wrong):
    with pytest.raises(DatasetError, match='must be'):
        Options(**wrong)


def keys_of(path, name):
    text = (path / name).read_text()
    return set(json.loads(text.splitlines()[0] if name.endswith('l') else text))


@pytest.mark.parametrize('name', ['cube_to_bowl_5', 'gr1.PickNPlace'])
def test_meta_has_the_structure_of_nvidias_own(cases, tmp_path, name):
    theirs = SHARED / name / 'meta'
    if not theirs.is_dir():
        assert not os.environ.get('CI'), 'in CI the data of shared/ must be there'
        pytest.skip('shared/data/groot is not here')
    done = made(cases[:1], tmp_path / 'set')
    ours = done.folder / 'meta'
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
    for file in ('info.json', 'episodes.jsonl', 'tasks.jsonl', 'modality.json'):
        assert keys_of(ours, file) == keys_of(theirs, file), file
    mine, other = (json.loads((each / 'info.json').read_text()) for each in (ours, theirs))
    assert mine['data_path'] == other['data_path']
    assert mine['video_path'] == other['video_path']
    stats, known = (json.loads((each / 'stats.json').read_text()) for each in (ours, theirs))
    assert stats.keys() >= known.keys()
    for feature in known:
        assert set(stats[feature]) == set(known[feature])
    standard = {key for key in other['features'] if not key.startswith(('observation.images',
                                                                        'annotation'))}
    assert standard <= mine['features'].keys()
    if name.startswith('cube'):
        video_of = next(v for k, v in other['features'].items() if 'images' in k)
        assert mine['features']['observation.images.front'].keys() == video_of.keys()
        assert mine['features']['observation.images.front']['info'].keys() == (
            video_of['info'].keys())
        assert features.modality(SO100, True)['state'] == json.loads(
            (theirs / 'modality.json').read_text())['state']


def test_a_manifest_that_is_none_is_named(tmp_path):
    case = write_case(tmp_path / 'in', drive())
    (case / manifest.MANIFEST).write_text('{}')
    with pytest.raises(DatasetError, match='no episode can be made'):
        export([Case(case)], tmp_path / 'set', AMR, WORDS, labels.Recorded(AMR))
