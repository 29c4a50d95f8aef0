# syntax=docker/dockerfile:1.7
# The flywheel's control plane and command line: no ROS, no GPU.
#     docker buildx build -f docker/control_plane.Dockerfile --platform linux/amd64,linux/arm64 -t spinal/control-plane:0.1.0 .
FROM docker.io/library/python:3.12.12-slim-bookworm AS build
ARG LOCK=ros
COPY tools/locks/${LOCK}.txt /tmp/lock.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes -r /tmp/lock.txt

FROM docker.io/library/python:3.12.12-slim-bookworm
RUN useradd --system --create-home --uid 10001 spinal
COPY --from=build /opt/venv /opt/venv
COPY src/flywheel/flywheel /opt/spinal/flywheel
COPY isaac_bridge/isaac_bridge /opt/spinal/isaac_bridge
COPY config /opt/spinal/config
COPY docker/healthcheck.py /opt/spinal/healthcheck.py
USER 10001:10001
WORKDIR /opt/spinal
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/spinal \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/spinal/healthcheck.py", "--url", "https://127.0.0.1:8443/healthz"]
# Database, secret, certificate and keys are arguments: config/cloud/base/control-plane, compose.yaml.
CMD ["python", "-m", "flywheel.control_plane.server", "--help"]
