"""What a converted archive answers, and how large it is, one number a line.

answers.py OUR_NAMES|THEIR_NAMES FILES

Rows, sum of durations, sum of request bytes, object ids, distinct correlation ids, caller addresses; then
the files' bytes, and the compressed bytes of the columns that ours and theirs both have.
"""
import glob
import os
import sys

import duckdb

whose, pattern = sys.argv[1:]
SHARED = [
    "time", "resource_id", "operation", "location", "duration_ms", "caller_ip", "correlation_id", "api_name",
    "request_time", "response_time", "object_id", "deployment", "model", "model_version",
]
request, others = {
    "ours": ("request_bytes", ["response_bytes", "streaming", "status"]),
    "theirs": ("request_length", ["response_length", "stream_type", "result_signature"]),
}[whose]
files = f"'{pattern}'"
answers = duckdb.sql(f"""
    SELECT count(*), sum(duration_ms), sum({request}), count(nullif(object_id, '')),
           count(DISTINCT nullif(correlation_id, '')), count(nullif(caller_ip, ''))
    FROM read_parquet({files}, hive_partitioning = false)""").fetchall()[0]
names = ", ".join(f"'{name}'" for name in [*SHARED, request, *others])
shared, columns = duckdb.sql(f"""
    SELECT sum(total_compressed_size), count(DISTINCT path_in_schema)
    FROM parquet_metadata({files}) WHERE path_in_schema IN ({names})""").fetchall()[0]
assert columns == len(SHARED) + 1 + len(others), "a column is missing"
print(*answers, sum(map(os.path.getsize, glob.glob(pattern, recursive=True))), shared, sep="\n")
