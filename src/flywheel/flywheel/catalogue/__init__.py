"""The catalogue: every edge case of the bucket as a row of a Parquet index, and its lineage."""
