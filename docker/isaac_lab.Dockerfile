# syntax=docker/dockerfile:1.7
# Isaac Lab under Ray, for the RayJob; amd64 with NVIDIA GPUs only. Who builds it accepts NVIDIA's
# licence of Isaac Sim.
#     docker buildx build -f docker/isaac_lab.Dockerfile --platform linux/amd64 -t spinal/isaac-lab:0.1.0 .
FROM nvcr.io/nvidia/isaac-lab:3.0.0
USER 0:0
# The version of `rayVersion` in config/cloud/jobs/run/isaac_lab.yaml; a test compares them.
RUN /workspace/isaaclab/isaaclab.sh -p -m pip install --no-cache-dir 'ray[default]==2.49.2' \
    && useradd --create-home --uid 10001 spinal
USER 10001:10001
WORKDIR /workspace/isaaclab
ENV PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=3 CMD ["nvidia-smi", "-L"]
CMD ["./isaaclab.sh", "--help"]
