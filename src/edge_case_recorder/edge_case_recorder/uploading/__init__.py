"""From the spool to the bucket: what is sent when, how fast, and what is done when it fails."""
