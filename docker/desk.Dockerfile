# syntax=docker/dockerfile:1.7
# A desk: the simulated aisle, everything in one container but Triton; `demo` is its target.
#     docker buildx build -f docker/desk.Dockerfile --platform linux/amd64,linux/arm64 -t spinal/desk:0.1.0 .
# From the repository's root. ROS 2 Jazzy wants Ubuntu 24.04, whatever the machine itself runs.
FROM docker.io/library/ros:jazzy-ros-base-noble AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-venv python3-pip ros-jazzy-rmw-cyclonedds-cpp ros-jazzy-diagnostic-updater \
        ros-jazzy-control-msgs ros-jazzy-simulation-interfaces \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 --shell /bin/bash spinal \
    && install -d -o spinal -g spinal /opt/spinal
USER 10001:10001
WORKDIR /opt/spinal
COPY --chown=spinal:spinal . .
# The same two steps as on a desk: the hash-pinned environment, and colcon over /opt/ros/jazzy.
RUN ./dev shell true

FROM docker.io/library/ros:jazzy-ros-base-noble
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-venv ros-jazzy-rmw-cyclonedds-cpp ros-jazzy-diagnostic-updater \
        ros-jazzy-control-msgs ros-jazzy-simulation-interfaces libegl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 --shell /bin/bash spinal \
    && install -d -o spinal -g spinal /var/lib/spinal/spool /var/lib/spinal/black_box
COPY --from=build --chown=spinal:spinal /opt/spinal /opt/spinal
USER 10001:10001
WORKDIR /opt/spinal
ENV RMW_IMPLEMENTATION=rmw_cyclonedds_cpp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
VOLUME ["/var/lib/spinal"]
STOPSIGNAL SIGINT
# Both channels of safety must run; nothing is asked over DDS, so the check costs the robot nothing.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "docker/healthcheck.py", "safety_reflex", "safety_watchdog", "world"]
ENTRYPOINT ["./dev", "launch", "demo"]
CMD ["spool_dir:=/var/lib/spinal/spool", "black_box_dir:=/var/lib/spinal/black_box", "bucket:=file:///var/lib/spinal/bucket", "triton:=desk=grpc://127.0.0.1:8001"]
