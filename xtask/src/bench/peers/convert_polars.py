"""Polars: JSON Lines below a directory to one Parquet file, streaming.

convert_polars.py DIRECTORY OUT      (threads: POLARS_MAX_THREADS)
"""
import glob
import sys

import polars as pl

directory, out = sys.argv[1:]
files = sorted(glob.glob(f"{directory}/**/PT1H.json", recursive=True))

OUTER = {
    "resourceId": "resource_id", "category": "category", "operationName": "operation", "location": "location",
    "level": "level", "Tenant": "tenant", "resultSignature": "result_signature", "durationMs": "duration_ms",
    "correlationId": "correlation_id", "event": "event",
}
INNER = {
    "apiName": "api_name", "requestTime": "request_time", "requestLength": "request_length",
    "responseTime": "response_time", "responseLength": "response_length", "objectId": "object_id",
    "streamType": "stream_type", "modelDeploymentName": "deployment", "modelName": "model",
    "modelVersion": "model_version",
}
NUMBERS = {"durationMs", "requestTime", "requestLength", "responseTime", "responseLength"}
CALLER = ["callerIpAddress", "callerIPAddress"]


def kinds(fields):
    return {field: pl.Int64 if field in NUMBERS else pl.String for field in fields}


schema = kinds(["time", *OUTER, *CALLER, "properties"])
records = pl.scan_ndjson(files, schema=schema)
records = records.with_columns(p=pl.col("properties").str.json_decode(pl.Struct(kinds(INNER))))
rows = records.select(
    pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns"),
    *(pl.col(field).alias(name) for field, name in OUTER.items()),
    pl.coalesce(CALLER).alias("caller_ip"),
    *(pl.col("p").struct.field(field).alias(name) for field, name in INNER.items()),
)
rows.sink_parquet(out, compression="zstd", compression_level=3, maintain_order=False)
