"""The AMR on the wire: tensor names, shapes and limits (docs/contracts.md)."""

from pathlib import Path

VIDEO = 'video.front'                                # uint8 (1, 1, 224, 224, 3) RGB, zero = masked
VELOCITY = 'state.velocity'                          # float32 (1, 1, 2): v, w as measured
GOAL = 'state.goal'                                  # float32 (1, 1, 2): x, y in base_link
TASK = 'annotation.human.task_description'           # int64 (1, 16): token ids
ACTION = 'action.base_velocity'                      # float32 (1, 16, 2): v, w, absolute

IMAGE_SIDE = 224
HORIZON = 16
ROW_S = 0.1                                          # one row of the chunk
TOKENS = 16
GOAL_RADIUS_M = 10.0

MAX_SPEED_MPS = 0.9                                  # config/robots/amr.yaml
MAX_TURN_RADPS = 1.2
ACCELERATION_MPS2 = 0.6                              # inside the base's service acceleration of 0.8
TURN_ACCELERATION_RADPS2 = 1.5                       # inside the base's 2.5

MODEL = Path('docker/triton/model_repository/amr/1/model.onnx')
VOCABULARY = Path('config/embodiments/vocabulary.txt')
REPORT = Path('src/flywheel/reports/amr_policy')
DATA = Path('out/train')
