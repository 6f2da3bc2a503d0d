"""What a file of candidates holds, one number a line: candidates.py FILE

Calls; calls with a latest grant on the account, and the sum of candidates; the same for the prefix.
"""
import sys

import duckdb

print(*duckdb.sql(f"""
    SELECT count(*), count(account_principal), sum(account_candidates)::BIGINT, count(prefix_principal),
           sum(prefix_candidates)::BIGINT
    FROM read_parquet('{sys.argv[1]}')""").fetchall()[0], sep="\n")
