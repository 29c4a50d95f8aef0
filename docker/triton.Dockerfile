# syntax=docker/dockerfile:1.7
# Triton for the cloud (amd64), a DGX, DGX Spark and Thor (arm64), with this repository's models.
#     docker buildx build -f docker/triton.Dockerfile --platform linux/amd64,linux/arm64 -t spinal/triton:0.1.0 .
# In a cluster the models come from the object store; /models serves a desk and a robot.
FROM nvcr.io/nvidia/tritonserver:25.10-py3
USER 0:0
COPY docker/locks/triton.txt /tmp/triton.txt
# onnxruntime in the server's own Python: the Python backend of `amr` imports it.
RUN python3 -m pip install --no-cache-dir --break-system-packages --require-hashes -r /tmp/triton.txt \
    && rm /tmp/triton.txt
COPY --chown=1000:1000 docker/triton/model_repository /models
# NVIDIA's image brings this user: triton-server.
USER 1000:1000
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)"]
CMD ["tritonserver", "--model-repository=/models", "--model-control-mode=explicit", "--load-model=amr", "--exit-timeout-secs=10"]
