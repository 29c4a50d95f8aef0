"""A v3.0 data set in the real lerobot, where it is installed.

It brings torch, so it has an environment of its own: SPINAL_LEROBOT_PYTHON names its interpreter.
"""

import json
import os
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_cases import AMR, NOON_NS, WORDS, drive, write_case

from flywheel.dataset import labels, video
from flywheel.dataset.export import Case, Options, export

PYTHON = os.environ.get('SPINAL_LEROBOT_PYTHON', '')
READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, later = sys.argv[1], {'action': [k / 10 for k in range(16)]}
whole = LeRobotDataset('spinal/cases', root=root, video_backend='pyav', delta_timestamps=later)
rows = [whole[k] for k in range(len(whole))]
print(json.dumps({
    'episodes': whole.num_episodes, 'fps': whole.fps,
    'state': [row['observation.state'].tolist() for row in rows],
    'window': list(rows[0]['action'].shape), 'padded': bool(rows[-1]['action_is_pad'].any()),
    'task': rows[0]['task'], 'reds': [float(row['observation.images.front'][0].mean())
                                      for row in rows]}))
"""


@pytest.mark.skipif(not PYTHON, reason='SPINAL_LEROBOT_PYTHON names no interpreter with lerobot')
def test_lerobot_reads_each_row_and_its_picture(tmp_path):
    cases = [Case(write_case(tmp_path, drive(2.0, NOON_NS + n * 10**10),
                             stamp_ns=NOON_NS + n * 10**10)) for n in range(2)]
    folder = export(cases, tmp_path / 'set', AMR, WORDS, labels.Recorded(AMR),
                    Options(layout='v3')).folder
    done = subprocess.run([PYTHON, '-c', READ, str(folder)], capture_output=True, text=True,
                          timeout=120, check=False,
                          env={'HF_HUB_OFFLINE': '1', 'HOME': str(tmp_path)})
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    rows = pq.read_table(folder / 'data/chunk-000/file-000.parquet')
    assert (seen['episodes'], seen['fps'], seen['task']) == (2, 10, 'drive to the goal')
    assert seen['state'] == rows['observation.state'].to_pylist()
    assert (seen['window'], seen['padded']) == ([16, 2], True)
    path = folder / 'videos/observation.images.front/chunk-000/file-000.mp4'
    reds = [frame[..., 0].mean() / 255 for _, frame in video.frames(path)]
    assert np.array(seen['reds']) == pytest.approx(np.array(reds), abs=0.01)
