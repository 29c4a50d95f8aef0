"""What runs in clusters and containers: manifests and their checks, image digests, telemetry."""
