"""LeRobot v3.0: episodes share Parquet and MP4 files; meta/episodes says where each one lies."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from policy_client.embodiment import Embodiment

from . import features, stats, video, writing
from .episodes import Episode, columns, table, task_numbers

VERSION = 'v3.0'
CHUNK = 1000
DATA = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
EPISODES = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
TASKS = 'meta/tasks.parquet'
# A file is closed when the rows in it reach this: far below LeRobot's 100 and 200 MB.
ROWS_A_FILE = 20_000


def write(folder: Path, episodes: Sequence[Episode], embodiment: Embodiment, fps: int,
          sizes: Mapping[str, tuple[int, int]], splits: Mapping[str, str]) -> None:
    """sizes: (height, width) of each camera; empty: no video. Raises DatasetError."""
    tasks, rows, first_row = task_numbers(episodes), [], 0
    everything: dict[str, list[np.ndarray]] = {}
    pictured: dict[str, np.ndarray] = {}
    for number_of_file, members in enumerate(files(episodes)):
        where = {'chunk_index': number_of_file // CHUNK, 'file_index': number_of_file % CHUNK}
        tables, begins = [], 0
        for number in members:
            episode = episodes[number]
            arrays = columns(episode, number, first_row, fps, tasks)
            tables.append(table(arrays))
            row = _row(episode, number, first_row, where)
            for name, values in arrays.items():
                everything.setdefault(name, []).append(values)
                row |= _flat(name, stats.of_v3(values))
            for name in sizes:
                key = features.video_key(name)
                row |= {f'videos/{key}/{part}': value for part, value in where.items()}
                row |= {f'videos/{key}/from_timestamp': begins / fps,
                        f'videos/{key}/to_timestamp': (begins + len(episode)) / fps}
                seen = stats.histogram(episode.run.pictures[name])
                pictured[key] = pictured.get(key, 0) + seen
                row |= _flat(key, stats.of_histogram(seen, len(episode)))
            rows.append(row)
            begins += len(episode)
            first_row += len(episode)
        writing.parquet(folder / DATA.format(**where), pa.concat_tables(tables))
        for name in sizes:
            video.write(folder / VIDEO.format(video_key=features.video_key(name), **where),
                        [episodes[number].run.pictures[name] for number in members], fps)
    writing.parquet(folder / EPISODES.format(chunk_index=0, file_index=0),
                    pa.Table.from_pylist(rows))
    writing.parquet(folder / TASKS, _tasks(tasks))
    writing.json_file(folder / 'meta/info.json', {
        'codebase_version': VERSION, 'robot_type': embodiment.name,
        'total_episodes': len(episodes), 'total_frames': first_row, 'total_tasks': len(tasks),
        'chunks_size': CHUNK, 'data_files_size_in_mb': 100, 'video_files_size_in_mb': 200,
        'fps': fps, 'splits': dict(splits), 'data_path': DATA,
        'video_path': VIDEO if sizes else None,
        'features': features.features(embodiment, fps, sizes)})
    found: dict[str, Any] = {name: stats.of_v3(np.concatenate(parts))
                             for name, parts in everything.items()}
    for key, histogram in pictured.items():
        found[key] = stats.of_histogram(histogram, first_row)
    writing.json_file(folder / 'meta/stats.json', found)


def files(episodes: Sequence[Episode]) -> list[list[int]]:
    """Which episodes share a file."""
    found: list[list[int]] = [[]]
    rows = 0
    for number, episode in enumerate(episodes):
        if found[-1] and rows + len(episode) > ROWS_A_FILE:
            found.append([])
            rows = 0
        found[-1].append(number)
        rows += len(episode)
    return found


def _row(episode: Episode, number: int, first_row: int, where: Mapping[str, int]) -> dict[str, Any]:
    return {'episode_index': number, 'tasks': list(episode.tasks), 'length': len(episode),
            'data/chunk_index': where['chunk_index'], 'data/file_index': where['file_index'],
            'dataset_from_index': first_row, 'dataset_to_index': first_row + len(episode),
            'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0}


def _flat(name: str, statistics: Mapping[str, Any]) -> dict[str, Any]:
    return {f'stats/{name}/{which}': value for which, value in statistics.items()}


def _tasks(tasks: Mapping[str, int]) -> pa.Table:
    """LeRobot reads it with pandas and takes the text from the index: say which column that is."""
    told = {'index_columns': ['task'], 'column_indexes': [],
            'columns': [{'name': 'task_index', 'field_name': 'task_index', 'pandas_type': 'int64',
                         'numpy_type': 'int64', 'metadata': None},
                        {'name': 'task', 'field_name': 'task', 'pandas_type': 'unicode',
                         'numpy_type': 'object', 'metadata': None}],
            'creator': {'library': 'pyarrow', 'version': pa.__version__}, 'pandas_version': '2.0.0'}
    return pa.table({'task_index': pa.array(list(tasks.values()), pa.int64()),
                     'task': pa.array(list(tasks), pa.string())}
                    ).replace_schema_metadata({'pandas': json.dumps(told)})
