"""ClickHouse (chdb): the same as query_duckdb.py.

query_clickhouse.py CALLS GRANTS OUT THREADS
"""
import os
import sys

import chdb

calls, grants, out, threads = sys.argv[1:]
DAY = 86_400_000_000
GRANTED = (
    "(SELECT toUnixTimestamp64Micro(time) AS at, assumeNotNull(resource_id) AS account, "
    f"assumeNotNull(principal) AS principal, coalesce(ip_prefix, '') AS prefix FROM file('{grants}', 'Parquet'))"
)
CALLS = (
    "(SELECT blob_offset AS call, toUnixTimestamp64Micro(time) AS at, assumeNotNull(resource_id) AS account, "
    f"coalesce(ip_prefix, '-') AS prefix FROM file('{calls}', 'Parquet'))"
)


def timeline(name, keys):
    """What holds for a key from an instant on, as three expressions of WITH."""
    key = ", ".join(keys)
    on = lambda right: " AND ".join(f"i.{it} = {right}.{it}" for it in keys)
    return f"""
    {name}_neighbours AS (
        SELECT {key}, at, lagInFrame(toNullable(at)) OVER same AS before, leadInFrame(toNullable(at)) OVER same AS after
        FROM {GRANTED} WINDOW same AS (PARTITION BY {key}, principal ORDER BY at
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)),
    {name}_changes AS (
        SELECT {key}, at AS since, 1 AS change FROM {name}_neighbours WHERE before IS NULL OR before + {DAY} < at
        UNION ALL
        SELECT {key}, at + {DAY} + 1 AS since, -1 AS change FROM {name}_neighbours
        WHERE after IS NULL OR after > at + {DAY}),
    {name}_counts AS (
        SELECT {key}, since, sum(change_here) OVER (PARTITION BY {key} ORDER BY since) AS candidates
        FROM (SELECT {key}, since, sum(change) AS change_here FROM {name}_changes GROUP BY {key}, since)),
    {name}_instants AS (
        SELECT {key}, since FROM {name}_counts UNION DISTINCT SELECT {key}, at AS since FROM {GRANTED}),
    {name} AS (
        SELECT {", ".join(f"i.{it} AS {it}" for it in keys)}, i.since AS since, c.candidates AS candidates,
            g.principal AS principal, g.at AS at
        FROM {name}_instants AS i
        ASOF LEFT JOIN {name}_counts AS c ON {on("c")} AND i.since >= c.since
        ASOF LEFT JOIN {GRANTED} AS g ON {on("g")} AND i.since >= g.at)"""


chosen = lambda of, name: f"""
    if({of}.at >= c.at - {DAY}, {of}.principal, NULL) AS {name}_principal,
    if({of}.at >= c.at - {DAY}, {of}.at, NULL) AS {name}_at,
    toInt32(coalesce({of}.candidates, 0)) AS {name}_candidates"""
if os.path.exists(out):
    os.unlink(out)
chdb.query(f"""
WITH {timeline("of_account", ["account"])}, {timeline("of_prefix", ["account", "prefix"])}
SELECT c.call AS call, {chosen("a", "account")}, {chosen("p", "prefix")}
FROM {CALLS} AS c
ASOF LEFT JOIN of_account AS a ON c.account = a.account AND c.at >= a.since
ASOF LEFT JOIN of_prefix AS p ON c.account = p.account AND c.prefix = p.prefix AND c.at >= p.since
INTO OUTFILE '{out}' FORMAT Parquet
SETTINGS max_threads = {threads}, join_use_nulls = 1, use_hive_partitioning = 0,
    output_format_parquet_compression_method = 'zstd', output_format_compression_level = 3,
    output_format_parquet_parallel_encoding = {int(int(threads) > 1)}
""")
