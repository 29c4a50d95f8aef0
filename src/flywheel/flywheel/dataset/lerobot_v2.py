"""LeRobot v2.1 with meta/modality.json, as GR00T reads it: one Parquet and one MP4 an episode."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from policy_client.embodiment import Embodiment

from . import features, stats, video, writing
from .episodes import FLOATS, Episode, columns, table, task_numbers

VERSION = 'v2.1'
CHUNK = 1000
DATA = 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet'
VIDEO = 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4'


def write(folder: Path, episodes: Sequence[Episode], embodiment: Embodiment, fps: int,
          sizes: Mapping[str, tuple[int, int]], splits: Mapping[str, str]) -> None:
    """sizes: (height, width) of each camera; empty: no video. Raises DatasetError."""
    tasks, first_row = task_numbers(episodes), 0
    floats: dict[str, list[np.ndarray]] = {name: [] for name in FLOATS}
    for number, episode in enumerate(episodes):
        arrays = columns(episode, number, first_row, fps, tasks)
        where = {'episode_chunk': number // CHUNK, 'episode_index': number}
        writing.parquet(folder / DATA.format(**where), table(arrays))
        for name in sizes:
            key = features.video_key(name)
            video.write(folder / VIDEO.format(video_key=key, **where),
                        [episode.run.pictures[name]], fps)
        for name in FLOATS:
            floats[name].append(arrays[name])
        first_row += len(episode)
    meta = folder / 'meta'
    writing.json_file(meta / 'info.json', {
        'codebase_version': VERSION, 'robot_type': embodiment.name,
        'total_episodes': len(episodes), 'total_frames': first_row, 'total_tasks': len(tasks),
        'total_videos': len(episodes) * len(sizes),
        'total_chunks': (len(episodes) + CHUNK - 1) // CHUNK, 'chunks_size': CHUNK, 'fps': fps,
        'splits': dict(splits), 'data_path': DATA, 'video_path': VIDEO if sizes else None,
        'features': features.features(embodiment, fps, sizes)})
    writing.json_lines(meta / 'episodes.jsonl', (
        {'episode_index': number, 'tasks': list(episode.tasks), 'length': len(episode)}
        for number, episode in enumerate(episodes)))
    writing.json_lines(meta / 'tasks.jsonl', (
        {'task_index': number, 'task': text} for text, number in tasks.items()))
    writing.json_file(meta / 'modality.json', features.modality(embodiment, bool(sizes)))
    writing.json_file(meta / 'stats.json', {
        name: stats.of(np.concatenate(parts)) for name, parts in floats.items()})
