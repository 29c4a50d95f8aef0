"""The same Parquet files as an external table of BigQuery: text of its DDL, from the schema."""

import re

import pyarrow as pa

from .errors import CatalogueError
from .rows import CASES

_TYPES = {pa.string(): 'STRING', pa.int32(): 'INT64', pa.int64(): 'INT64',
          pa.float64(): 'FLOAT64', pa.bool_(): 'BOOL', pa.timestamp('us', 'UTC'): 'TIMESTAMP'}
_NAME = re.compile(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+){1,2}')
_URL = re.compile(r'gs://[a-z0-9][a-z0-9._-]+(/[A-Za-z0-9._-]+)*')


def ddl(table: str, index_url: str) -> str:
    """Statements that make `<table>_files` over the index in a bucket, and the view `<table>`.

    table: `project.dataset.name` or `dataset.name`. index_url: `gs://bucket/path` of the index.
    The view has each case once: between a compaction's new file and the end of the old ones the
    files have some twice. Lists are plain repeated columns (enable_list_inference). Raises
    CatalogueError for a name that could be more than a name.
    """
    if not _NAME.fullmatch(table):
        raise CatalogueError(f'table {table!r}: must be dataset.name or project.dataset.name')
    if not _URL.fullmatch(index_url):
        raise CatalogueError(f'index {index_url!r}: must be gs://bucket/path')
    columns = ',\n'.join(f'  {field.name} {_type(field.type)}' for field in CASES)
    return (f'CREATE OR REPLACE EXTERNAL TABLE `{table}_files` (\n{columns}\n)\n'
            'WITH PARTITION COLUMNS (date DATE)\n'
            "OPTIONS (\n  format = 'PARQUET',\n"
            f"  uris = ['{index_url}/cases/*'],\n"
            f"  hive_partition_uri_prefix = '{index_url}/cases',\n"
            '  require_hive_partition_filter = false,\n'
            '  enable_list_inference = true\n);\n'
            f'CREATE OR REPLACE VIEW `{table}` AS\nSELECT * FROM `{table}_files`\n'
            'QUALIFY ROW_NUMBER() OVER (PARTITION BY case_id ORDER BY manifest_sha256) = 1;\n')


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f'ARRAY<{_TYPES[kind.value_type]}>'
    return _TYPES[kind]
