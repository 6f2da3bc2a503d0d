"""Polars: the same as query_duckdb.py.

query_polars.py CALLS GRANTS OUT      (threads: POLARS_MAX_THREADS)
"""
import sys
from datetime import timedelta

import polars as pl

calls, grants, out = sys.argv[1:]
DAY = timedelta(hours=24)
KEYS = {"account": ["resource_id"], "prefix": ["resource_id", "ip_prefix"]}

granted = pl.scan_parquet(grants).select("time", "resource_id", "principal", "ip_prefix").sort("time")
rows = pl.scan_parquet(calls, hive_partitioning=False)
rows = rows.select("time", "resource_id", "ip_prefix", call="blob_offset").sort("time")


def timeline(name, key):
    """What holds for a key from an instant on."""
    same = [*key, "principal"]
    neighbours = granted.filter(pl.all_horizontal(pl.col(key).is_not_null())).with_columns(
        before=pl.col("time").shift(1).over(same), after=pl.col("time").shift(-1).over(same))
    begins = pl.col("before").is_null() | (pl.col("before") + DAY < pl.col("time"))
    ends = pl.col("after").is_null() | (pl.col("after") > pl.col("time") + DAY)
    changes = pl.concat([
        neighbours.filter(begins).select(*key, since="time", change=pl.lit(1, pl.Int32)),
        neighbours.filter(ends).select(
            *key, since=pl.col("time") + DAY + timedelta(microseconds=1), change=pl.lit(-1, pl.Int32)),
    ])
    counts = changes.group_by([*key, "since"]).agg(pl.col("change").sum()).sort("since")
    counts = counts.with_columns(pl.col("change").cum_sum().over(key).cast(pl.Int32).alias(f"{name}_candidates"))
    return counts.drop("change").sort("since")


for name, key in KEYS.items():
    latest = granted.select(
        *key, "time", pl.col("principal").alias(f"{name}_principal"), pl.col("time").alias(f"{name}_at"))
    rows = rows.join_asof(latest, on="time", by=key, tolerance=DAY, check_sortedness=False)
    rows = rows.join_asof(
        timeline(name, key), left_on="time", right_on="since", by=key, check_sortedness=False
    ).drop("since", strict=False)
columns = [[f"{name}_principal", f"{name}_at", pl.col(f"{name}_candidates").fill_null(0)] for name in KEYS]
rows.select("call", *(it for of_key in columns for it in of_key)).sink_parquet(
    out, compression="zstd", compression_level=3)
