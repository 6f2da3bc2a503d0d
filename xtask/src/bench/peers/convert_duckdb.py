"""DuckDB: JSON Lines below a directory to one Parquet file.

convert_duckdb.py columns|objects DIRECTORY OUT THREADS

columns  read_json with declared columns, the quickest there is. DuckDB's names ignore case, so that it
         cannot tell callerIpAddress from callerIPAddress, and leaves out the second.
objects  whole records, fields taken out by path: loses nothing.
"""
import sys

import duckdb

how, directory, out, threads = sys.argv[1:]
files = f"'{directory}/**/PT1H.json', hive_partitioning = false"

# The name of a field, that of its column, its type.
OUTER = [
    ("time", "time", "TIMESTAMP_NS"), ("resourceId", "resource_id", "VARCHAR"), ("category", "category", "VARCHAR"),
    ("operationName", "operation", "VARCHAR"), ("location", "location", "VARCHAR"), ("level", "level", "VARCHAR"),
    ("Tenant", "tenant", "VARCHAR"), ("resultSignature", "result_signature", "VARCHAR"),
    ("durationMs", "duration_ms", "BIGINT"), ("correlationId", "correlation_id", "VARCHAR"),
    ("event", "event", "VARCHAR"),
]
INNER = [
    ("apiName", "api_name", "VARCHAR"), ("requestTime", "request_time", "BIGINT"),
    ("requestLength", "request_length", "BIGINT"), ("responseTime", "response_time", "BIGINT"),
    ("responseLength", "response_length", "BIGINT"), ("objectId", "object_id", "VARCHAR"),
    ("streamType", "stream_type", "VARCHAR"), ("modelDeploymentName", "deployment", "VARCHAR"),
    ("modelName", "model", "VARCHAR"), ("modelVersion", "model_version", "VARCHAR"),
]


def declared():
    shape = ", ".join(f'"{field}":"{kind}"' for field, _, kind in INNER)
    columns = ", ".join(f"{field}: '{kind}'" for field, _, kind in OUTER)
    columns += ", callerIpAddress: 'VARCHAR', properties: 'VARCHAR'"
    outer = ", ".join(f"{field} AS {name}" for field, name, _ in OUTER)
    inner = ", ".join(f"p.{field} AS {name}" for field, name, _ in INNER)
    return f"""SELECT {outer}, callerIpAddress AS caller_ip, {inner} FROM (
        SELECT *, json_transform(properties, '{{{shape}}}') AS p
        FROM read_json({files}, format = 'newline_delimited', columns = {{{columns}}}))"""


def by_path():
    paths = lambda fields: "[" + ", ".join(f"'$.{field}'" for field in fields) + "]"
    taken = lambda of, columns: ", ".join(
        f"{of}[{index}]::{kind} AS {name}" for index, (_, name, kind) in enumerate(columns, 1))
    after = len(OUTER) + 1
    fields = [field for field, _, _ in OUTER] + ["callerIpAddress", "callerIPAddress", "properties"]
    return f"""SELECT {taken("o", OUTER)}, coalesce(o[{after}], o[{after + 1}]) AS caller_ip, {taken("p", INNER)} FROM (
        SELECT o, o[{after + 2}] ->> {paths(field for field, _, _ in INNER)} AS p
        FROM (SELECT json ->> {paths(fields)} AS o FROM read_ndjson_objects({files})))"""


connection = duckdb.connect(config={"threads": int(threads), "preserve_insertion_order": False})
query = declared() if how == "columns" else by_path()
connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3)")
