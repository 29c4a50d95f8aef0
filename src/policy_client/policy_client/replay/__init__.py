"""A bag through the client again: the same actions bit for bit, and what a live policy says."""
