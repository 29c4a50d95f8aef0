"""What a fleet asks of the cloud: requests, GPUs, bytes, storage, dollars; plain arithmetic."""
