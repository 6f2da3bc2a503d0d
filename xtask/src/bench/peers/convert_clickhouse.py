"""ClickHouse (chdb): JSON Lines, below a directory or in Azure, to one Parquet file.

convert_clickhouse.py SOURCE OUT THREADS

SOURCE is a directory, or what goes between the parentheses of azureBlobStorage() before the format.
"""
import os
import sys

import chdb

source, out, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])

# The name of a field, that of its column, its type.
OUTER = [
    ("time", "time", "DateTime64(9, 'UTC')"), ("resourceId", "resource_id", "String"),
    ("category", "category", "String"), ("operationName", "operation", "String"), ("location", "location", "String"),
    ("level", "level", "Nullable(String)"), ("Tenant", "tenant", "String"),
    ("resultSignature", "result_signature", "String"), ("durationMs", "duration_ms", "Int64"),
    ("correlationId", "correlation_id", "String"), ("event", "event", "String"),
]
INNER = [
    ("apiName", "api_name", "String"), ("requestTime", "request_time", "Int64"),
    ("requestLength", "request_length", "Int64"), ("responseTime", "response_time", "Int64"),
    ("responseLength", "response_length", "Int64"), ("objectId", "object_id", "String"),
    ("streamType", "stream_type", "String"), ("modelDeploymentName", "deployment", "String"),
    ("modelName", "model", "String"), ("modelVersion", "model_version", "String"),
]
CALLER = ["callerIpAddress", "callerIPAddress"]

schema = ", ".join(
    [f"{field} {kind}" for field, _, kind in OUTER] + [f"{field} Nullable(String)" for field in CALLER]
    + ["properties String"]
).replace("'", "\\'")
inner = ", ".join(f"{field} {kind}" for field, _, kind in INNER)
columns = [f"{field} AS {name}" for field, name, _ in OUTER] + [f"coalesce({', '.join(CALLER)}) AS caller_ip"]
columns += [f"p.{field} AS {name}" for field, name, _ in INNER]
if os.path.isdir(source):
    table = f"file('{source}/**/PT1H.json', 'JSONEachRow', '{schema}')"
else:
    table = f"azureBlobStorage({source}, 'JSONEachRow', 'none', '{schema}')"
parallel = int(threads > 1)
settings = {
    "use_hive_partitioning": 0,
    "date_time_input_format": "'best_effort'",
    "max_threads": threads,
    "max_parsing_threads": threads,
    "input_format_parallel_parsing": parallel,
    "output_format_parquet_parallel_encoding": parallel,
    "output_format_parquet_compression_method": "'zstd'",
    "output_format_compression_level": 3,
}
if os.path.exists(out):
    os.unlink(out)
chdb.query(
    f"WITH JSONExtract(properties, 'Tuple({inner})') AS p SELECT {', '.join(columns)} FROM {table} "
    f"INTO OUTFILE '{out}' FORMAT Parquet SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}"
)
