"""A bucket that follows Google's published resumable protocol to the letter, with faults on demand.

For tests, benches and drills at a desk. Objects live in memory; it is no place to keep anything.
"""
