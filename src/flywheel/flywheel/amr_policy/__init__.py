"""The repository's own small policy: expert, data, training, export, evaluation."""
