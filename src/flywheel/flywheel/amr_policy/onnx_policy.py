"""The exported network behind one call, for evaluation and tests."""

import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from flywheel.amr_policy import wire

MASKED = np.zeros((1, 1, wire.IMAGE_SIDE, wire.IMAGE_SIDE, 3), np.uint8)


class OnnxPolicy:
    """One session on one thread. Raises onnxruntime's errors for a file it cannot load."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model), options,
                                                    providers=['CPUExecutionProvider'])

    def __call__(self, image: NDArray[np.uint8] | None, velocity: NDArray[np.floating],
                 goal: NDArray[np.floating], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Chunk (16, 2) for a frame (224, 224, 3) or None, v and w, the goal in base_link."""
        video = MASKED if image is None else image[None, None]
        (chunk,) = self.session.run([wire.ACTION], {
            wire.VIDEO: video, wire.VELOCITY: np.asarray(velocity, np.float32).reshape(1, 1, 2),
            wire.GOAL: np.asarray(goal, np.float32).reshape(1, 1, 2),
            wire.TASK: np.asarray(tokens, np.int64).reshape(1, wire.TOKENS)})
        return chunk[0]

    def inference_ms(self, count: int) -> dict[str, float]:
        """p50 and p99 of `count` calls with a picture, on one thread."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (wire.IMAGE_SIDE, wire.IMAGE_SIDE, 3), dtype=np.uint8)
        took = []
        for _ in range(count):
            began = time.perf_counter_ns()
            self(image, np.zeros(2), np.ones(2), np.zeros(wire.TOKENS, np.int64))
            took.append((time.perf_counter_ns() - began) * 1e-6)
        p50, p99 = np.percentile(took, (50, 99))
        return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3), 'n': count}
