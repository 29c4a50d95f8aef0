# syntax=docker/dockerfile:1.7
# Fine-tuning of GR00T, ONNX and TensorRT export; amd64 with NVIDIA GPUs only.
#     docker buildx build -f docker/trainer.Dockerfile --platform linux/amd64 -t spinal/trainer:0.1.0 .
FROM nvcr.io/nvidia/pytorch:25.04-py3
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# One commit, by which a training record can be repeated; its own uv.lock pins the rest.
ARG GROOT_COMMIT=2d1e82fe527104d2510a87ba74c37126ab90e58b
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg git git-lfs \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m pip install --no-cache-dir uv==0.13.9 \
    && useradd --create-home --uid 10001 spinal \
    && install -d -o spinal -g spinal /workspace/gr00t
USER 10001:10001
WORKDIR /workspace/gr00t
RUN git init -q . \
    && git remote add origin https://github.com/NVIDIA/Isaac-GR00T.git \
    && GIT_LFS_SKIP_SMUDGE=1 git fetch -q --depth 1 origin "${GROOT_COMMIT}" \
    && GIT_LFS_SKIP_SMUDGE=1 git checkout -q FETCH_HEAD \
    && uv sync --frozen --no-cache
ENV VIRTUAL_ENV=/workspace/gr00t/.venv \
    PATH=/workspace/gr00t/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
# A Job says by its exit status how it went; this says whether its GPU is there.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s --retries=3 CMD ["nvidia-smi", "-L"]
CMD ["python", "gr00t/experiment/launch_finetune.py", "--help"]
