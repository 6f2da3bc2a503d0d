"""DuckDB: for each call, who could have made it, by what was granted within a day before.

query_duckdb.py CALLS GRANTS OUT THREADS

Of the grants on the call's account, and of those from the call's prefix: the latest, and how many
principals there are. Accounts and prefixes become numbers, and each account a timeline of what holds
from when, so that two ASOF joins are enough: the quickest way that is known.
"""
import sys

import duckdb

calls, grants, out, threads = sys.argv[1:]
DAY = 86_400_000_000

connection = duckdb.connect(config={"threads": int(threads), "preserve_insertion_order": False})
connection.execute(f"""
    CREATE TEMP TABLE named AS
    SELECT epoch_us(time) AS instant, resource_id, principal, ip_prefix FROM read_parquet('{grants}')""")
for column in ["resource_id", "ip_prefix"]:
    connection.execute(f"""
        CREATE TEMP TABLE {column}_number AS
        SELECT {column}, row_number() OVER ()::INTEGER AS {column}_n
        FROM (SELECT DISTINCT {column} FROM named WHERE {column} IS NOT NULL)""")
NUMBERED = "LEFT JOIN resource_id_number USING (resource_id) LEFT JOIN ip_prefix_number USING (ip_prefix)"
connection.execute(f"""
    CREATE TEMP TABLE granted AS
    SELECT instant, principal, resource_id_n AS account, ip_prefix_n AS prefix FROM named {NUMBERED}""")


def timeline(name, keys):
    """What holds for a key from an instant on: the latest grant and the number of principals."""
    key = ", ".join(keys)
    on = lambda left, right: " AND ".join(f"{left}.{it} = {right}.{it}" for it in keys)
    connection.execute(f"""
        CREATE TEMP TABLE {name} AS
        WITH neighbours AS (
            SELECT {key}, instant, lag(instant) OVER same AS before, lead(instant) OVER same AS after
            FROM granted WINDOW same AS (PARTITION BY {key}, principal ORDER BY instant)
        ), changes AS (
            SELECT {key}, instant AS since, 1 AS change FROM neighbours WHERE before IS NULL OR before + {DAY} < instant
            UNION ALL
            SELECT {key}, instant + {DAY} + 1, -1 FROM neighbours WHERE after IS NULL OR after > instant + {DAY}
        ), counts AS (
            SELECT {key}, since, sum(change) OVER (PARTITION BY {key} ORDER BY since) AS candidates
            FROM (SELECT {key}, since, sum(change) AS change FROM changes GROUP BY ALL)
        ), instants AS (
            SELECT {key}, since FROM counts UNION SELECT {key}, instant FROM granted
        )
        SELECT {", ".join(f"i.{it}" for it in keys)}, i.since, c.candidates, g.principal, g.instant
        FROM instants AS i
        ASOF LEFT JOIN counts AS c ON {on("i", "c")} AND i.since >= c.since
        ASOF LEFT JOIN granted AS g ON {on("i", "g")} AND i.since >= g.instant""")


timeline("of_account", ["account"])
timeline("of_prefix", ["account", "prefix"])
chosen = lambda of, name: f"""
    CASE WHEN {of}.instant >= c.instant - {DAY} THEN {of}.principal END AS {name}_principal,
    CASE WHEN {of}.instant >= c.instant - {DAY} THEN {of}.instant END AS {name}_at,
    coalesce({of}.candidates, 0)::INTEGER AS {name}_candidates"""
connection.execute(f"""
    COPY (
        SELECT c.call, {chosen("a", "account")}, {chosen("p", "prefix")}
        FROM (
            SELECT blob_offset AS call, epoch_us(time) AS instant, resource_id_n AS account, ip_prefix_n AS prefix
            FROM read_parquet('{calls}', hive_partitioning = false) {NUMBERED}
        ) AS c
        ASOF LEFT JOIN of_account AS a ON c.account = a.account AND c.instant >= a.since
        ASOF LEFT JOIN of_prefix AS p ON c.account = p.account AND c.prefix = p.prefix AND c.instant >= p.since
    ) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)""")
