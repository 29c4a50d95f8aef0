"""The checker: each kind of defect, put into a good data set, is found and named."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_cases import AMR, NOON_NS, WORDS, drive, write_case

from flywheel.dataset import labels, video
from flywheel.dataset.checker import check
from flywheel.dataset.export import Case, Options, export

DATA = {'v2': 'data/chunk-000/episode_000000.parquet', 'v3': 'data/chunk-000/file-000.parquet'}
VIDEO = {'v2': 'videos/chunk-000/observation.images.front/episode_000000.mp4',
         'v3': 'videos/observation.images.front/chunk-000/file-000.mp4'}
EPISODES = 'meta/episodes/chunk-000/file-000.parquet'


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp('good')
    cases = [Case(write_case(root, drive(2.0, NOON_NS + n * 10**10),
                             stamp_ns=NOON_NS + n * 10**10)) for n in range(2)]
    for layout in ('v2', 'v3'):
        done = export(cases, root / layout, AMR, WORDS, labels.Recorded(AMR),
                      Options(layout=layout))
        # Its digests would find everything: what is looked for here is the rest.
        (done.folder / 'provenance.json').unlink()
        assert check(done.folder) == []
    return root


@pytest.fixture(params=['v2', 'v3'])
def layout(request):
    return request.param


@pytest.fixture
def folder(good, layout, tmp_path):
    return shutil.copytree(good / layout, tmp_path / 'set')


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_column(path, name, change):
    table = pq.read_table(path)
    values = table[name].to_pylist()
    change(values)
    field = table.schema.field(name)
    place = table.schema.get_field_index(name)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), path)


def found(folder, sentence):
    defects = check(folder)
    assert any(sentence in defect for defect in defects), defects
    assert all('\n' not in defect for defect in defects)


@pytest.mark.parametrize(('name', 'sentence'), [
    ('meta/info.json', 'meta/info.json: is missing'),
    ('meta/stats.json', 'meta/stats.json: is missing'),
    (DATA, 'is missing'), (VIDEO, 'is missing')])
def test_missing_files(folder, layout, name, sentence):
    (folder / (name if isinstance(name, str) else name[layout])).unlink()
    found(folder, sentence)


@pytest.mark.parametrize('key', ['total_episodes', 'total_frames', 'total_tasks'])
def test_wrong_counts(folder, key):
    change_json(folder / 'meta/info.json', lambda info: info.update({key: 77}))
    found(folder, f'{key} is 77')


@pytest.mark.parametrize(('change', 'sentence'), [
    (lambda info: info.update(extra=1), 'extra is not known'),
    (lambda info: info.pop('fps'), 'fps None is not a rate'),
    (lambda info: info.update(fps=0), 'fps 0 is not a rate'),
    (lambda info: info.update(codebase_version='v9'), "codebase_version 'v9'"),
    (lambda info: info['features'].pop('next.reward'), 'next.reward is not a feature'),
    (lambda info: info['features']['action'].update(shape=[3]), 'has 2 values a row'),
    (lambda info: info['features']['action'].update(dtype='float64'), 'says float64'),
    (lambda info: info.update(splits={'train': '0:9'}), 'is not within 2 episodes'),
    (lambda info: info.update(splits={'train': '0:2', 'validation': '1:2'}), 'of another split'),
    (lambda info: info.update(data_path='../{chunk_index}{file_index}'
                              if 'data_files_size_in_mb' in info else '../{episode_index}'),
     'leads out of the data set'),
    (lambda info: info['features']['observation.images.front'].update(shape=[64, 64, 3]),
     'frames are 48x32'),
    (lambda info: info['features']['observation.images.front']['info'].update(
        {'video.codec': 'av1'}), 'is h264, info.json says av1')])
def test_wrong_info(folder, change, sentence):
    change_json(folder / 'meta/info.json', change)
    found(folder, sentence)


@pytest.mark.parametrize(('change', 'sentence'), [
    (lambda stats: stats['action']['mean'].__setitem__(0, 9.0), 'action.mean is not what'),
    (lambda stats: stats['action']['q99'].__setitem__(1, -1.0), 'action.q99 is not what'),
    (lambda stats: stats['action'].pop('std'), 'action.std is missing'),
    (lambda stats: stats['action'].update(median=[0.0]), 'action.median is not known'),
    (lambda stats: stats.pop('observation.state'), 'observation.state is missing'),
    (lambda stats: stats.update(nothing={}), 'nothing is not a feature'),
    (lambda stats: stats['action'].update(max=[1.0]), 'action.max is not what')])
def test_statistics_that_are_off(folder, change, sentence):
    change_json(folder / 'meta/stats.json', change)
    found(folder, sentence)


@pytest.mark.parametrize(('name', 'change', 'sentence'), [
    ('timestamp', lambda rows: rows.__setitem__(4, rows[4] + 0.0003), 'timestamp steps by'),
    ('timestamp', lambda rows: rows.__setitem__(slice(None), [r + 5 for r in rows]),
     'begins at 5 s, not at 0'),
    ('timestamp', lambda rows: rows.__setitem__(3, float('nan')), 'timestamp is not finite'),
    ('action', lambda rows: rows.__setitem__(3, [float('nan'), 0.0]),
     'action is not finite in row 3'),
    ('observation.state', lambda rows: rows.__setitem__(2, [float('inf')] * 4),
     'observation.state is not finite in row 2'),
    ('frame_index', lambda rows: rows.__setitem__(3, 9), 'frame_index is 9 in row 3'),
    ('index', lambda rows: rows.__setitem__(0, 5), 'index is 5 in row 0'),
    ('episode_index', lambda rows: rows.__setitem__(0, 1), 'episode_index is 1 in row 0'),
    ('task_index', lambda rows: rows.__setitem__(1, 12), 'task_index 12 is no task'),
    ('annotation.recorder.cause', lambda rows: rows.__setitem__(1, -1),
     'annotation.recorder.cause -1 is no task'),
    ('next.done', lambda rows: rows.__setitem__(1, True), 'next.done is not true in the last'),
    ('next.reward', lambda rows: rows.__setitem__(1, None), 'rows of different kinds')])
def test_wrong_rows(folder, layout, name, change, sentence):
    change_column(folder / DATA[layout], name, change)
    found(folder, sentence)


def test_a_step_within_the_tolerance_is_none(folder, layout):
    change_column(folder / DATA[layout], 'timestamp',
                  lambda rows: rows.__setitem__(4, rows[4] + 0.00005))
    assert not any('steps by' in defect for defect in check(folder))


def test_rows_that_are_lacking(folder, layout):
    path = folder / DATA[layout]
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    found(folder, 'rows, meta says')


def test_columns_that_are_lacking_or_unknown(folder, layout):
    path = folder / DATA[layout]
    table = pq.read_table(path)
    pq.write_table(table.drop_columns('next.done').append_column(
        'notes', pa.array(['x'] * table.num_rows)), path)
    found(folder, 'column next.done is missing')
    found(folder, 'column notes is not a feature')


@pytest.mark.parametrize('count', [-1, 1])
def test_frames_that_are_not_as_many_as_rows(folder, layout, count):
    path = folder / VIDEO[layout]
    frames = [frame for _, frame in video.frames(path)]
    frames = frames[:-1] if count < 0 else [*frames, frames[-1]]
    video.write(path, [np.stack(frames)], 10)
    found(folder, f'has {len(frames)} frames for')


def test_a_video_at_another_rate(folder, layout):
    path = folder / VIDEO[layout]
    frames = np.stack([frame for _, frame in video.frames(path)])
    video.write(path, [frames], 15)
    found(folder, "its frames' time steps by 0.066667 s")


def test_what_is_no_video_and_no_parquet(folder, layout):
    (folder / VIDEO[layout]).write_bytes(b'nothing')
    (folder / DATA[layout]).write_bytes(b'nothing')
    found(folder, 'cannot be read as Parquet')


def test_a_file_that_nothing_speaks_of(folder):
    (folder / 'meta/old.json').write_text('{}')
    found(folder, 'meta/old.json: belongs to nothing in meta/')


def test_a_folder_that_is_none(tmp_path):
    assert 'is no folder' in check(tmp_path / 'none')[0]


@pytest.fixture
def v2(good, tmp_path):
    return shutil.copytree(good / 'v2', tmp_path / 'v2')


@pytest.mark.parametrize(('change', 'sentence'), [
    (lambda told: told['state']['goal'].update(end=9), '[2, 9) of a vector of 4'),
    (lambda told: told['state']['goal'].update(start=1), 'two slices of state overlap at 1'),
    (lambda told: told['video'].update(rear={}), 'observation.images.rear, which is no feature'),
    (lambda told: told.pop('action'), 'action is missing'),
    (lambda told: told.update(sound={}), 'sound is not known')])
def test_modality(v2, change, sentence):
    change_json(v2 / 'meta/modality.json', change)
    found(v2, sentence)


@pytest.mark.parametrize(('file', 'text', 'sentence'), [
    ('episodes.jsonl', '{"episode_index": 1, "tasks": [], "length": 3}', 'does not go from 0'),
    ('episodes.jsonl', 'nonsense', 'cannot be read as JSON lines'),
    ('tasks.jsonl', '{"task_index": 0, "task": "other"}', 'which is none'),
    ('stats.json', '{"action": NaN}', 'NaN is no JSON')])
def test_wrong_meta_files(v2, file, text, sentence):
    (v2 / 'meta' / file).write_text(text + '\n')
    found(v2, sentence)


@pytest.mark.parametrize(('name', 'value', 'sentence'), [
    ('length', 3, 'rows, meta says'),
    ('dataset_from_index', 7, 'lies at'),
    ('videos/observation.images.front/from_timestamp', 7.0, 's is right'),
    ('tasks', ['fly'], "has the task 'fly', which is none"),
    ('episode_index', 3, 'does not go from 0')])
def test_wrong_rows_of_episodes(good, tmp_path, name, value, sentence):
    folder = shutil.copytree(good / 'v3', tmp_path / 'v3')
    change_column(folder / EPISODES, name, lambda rows: rows.__setitem__(1, value))
    found(folder, sentence)


@pytest.mark.parametrize('layout', ['v2', 'v3'])
def test_any_changed_byte_is_found_by_the_provenance(tmp_path, layout):
    done = export([Case(write_case(tmp_path, drive(1.0)))], tmp_path / 'set', AMR, WORDS,
                  labels.Recorded(AMR), Options(layout=layout))
    path = done.folder / VIDEO[layout]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found(done.folder, 'is not the file that the provenance names')
