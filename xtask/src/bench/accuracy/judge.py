"""Judges attributions by the truth: prints tables in Markdown, and draws the reliability curves.

Arguments: where the drawing goes, then one directory per tenant, named `scenario-seed`. A directory holds
`calls.parquet` (attributed_calls), `grants.parquet` (who obtained keys) and `truth/calls.csv`.
"""

import pathlib
import sys

import duckdb

THRESHOLDS = (0.5, 0.8, 0.9, 0.95)
BINS = 10

# Calls with a key that was accepted: those that attribution has to find a caller for. Who is in no log as
# having obtained a key (`tier` none in the truth) cannot be named: right is to name nobody.
JUDGED = """
CREATE OR REPLACE TABLE judged AS
SELECT a.*, t.principal_id AS caller_id, t.stranger, t.tier = 'none' AS unknowable,
  a.tier = 'key_holder' AS named,
  CASE WHEN a.tier = 'key_holder' THEN a.principal_id = t.principal_id ELSE t.tier = 'none' END AS is_right,
  CASE WHEN a.tier = 'key_holder' THEN a.confidence ELSE 0 END AS certainty
FROM calls AS a
JOIN truth AS t ON t.correlation_id = a.correlation_id
WHERE a.tier NOT IN ('object_id', 'gateway') AND t.tier <> 'object_id' AND t.status <> 401
"""

# The rules that people go by, and the best that any rule could do that sees account, prefix, masked digits
# and hour: with hindsight, the most frequent caller of each.
RULES = """
WITH ruled AS (
  SELECT j.caller_id, j.unknowable, g.principal_id AS by_account, p.principal_id AS by_prefix
  FROM judged AS j
  ASOF LEFT JOIN (SELECT account_id, time, any_value(principal_id) AS principal_id FROM grants GROUP BY ALL) AS g
    ON g.account_id = j.resource_id AND g.time <= j.called_at
  ASOF LEFT JOIN (SELECT account_id, ip_prefix, time, any_value(principal_id) AS principal_id FROM grants GROUP BY ALL) AS p
    ON p.account_id = j.resource_id AND p.ip_prefix = j.ip_prefix AND p.time <= j.called_at
),
cells AS (
  SELECT count(*) AS calls
  FROM judged
  GROUP BY resource_id, ip_prefix, ip_hidden_digits, date_trunc('hour', called_at),
    CASE WHEN unknowable THEN '' ELSE caller_id END
  QUALIFY row_number() OVER (
    PARTITION BY resource_id, ip_prefix, ip_hidden_digits, date_trunc('hour', called_at) ORDER BY count(*) DESC) = 1
)
SELECT avg(coalesce(CASE WHEN by_account IS NULL THEN unknowable ELSE by_account = caller_id END, false)::INT),
  avg(coalesce(CASE WHEN by_prefix IS NULL THEN unknowable ELSE by_prefix = caller_id END, false)::INT),
  (SELECT sum(calls) FROM cells) / count(*)
FROM ruled
"""

EXACT = """
SELECT count(*), count(*) FILTER (WHERE a.principal_id = CASE a.tier WHEN 'object_id' THEN t.principal_id ELSE t.client_id END)
FROM calls AS a JOIN truth AS t ON t.correlation_id = a.correlation_id
WHERE a.tier IN ('object_id', 'gateway')
"""


def judge(directory):
    """The figures of one tenant."""
    con = duckdb.connect()
    con.execute(f"CREATE VIEW calls AS SELECT * FROM '{directory}/calls.parquet'")
    con.execute(f"CREATE VIEW grants AS SELECT * FROM '{directory}/grants.parquet'")
    con.execute(f"CREATE VIEW truth AS SELECT * FROM read_csv('{directory}/truth/calls.csv', all_varchar = false)")
    con.execute(JUDGED)
    one = lambda sql: con.execute(sql).fetchone()
    calls, top, named, strangers, stranger_certainty = one(
        "SELECT count(*), avg(is_right::INT), avg(named::INT), count(*) FILTER (WHERE stranger),"
        " avg(certainty) FILTER (WHERE stranger) FROM judged"
    )
    exact, exact_right = one(EXACT)
    by_account, by_prefix, ceiling = one(RULES)
    at = {}
    for threshold in THRESHOLDS:
        count, right = one(f"SELECT count(*), avg(is_right::INT) FROM judged WHERE named AND certainty >= {threshold}")
        at[threshold] = (count / calls, right)
    bins = con.execute(
        f"SELECT least({BINS - 1}, floor(certainty * {BINS}))::INT AS bin, count(*), avg(certainty), avg(is_right::INT)"
        " FROM judged WHERE named GROUP BY bin ORDER BY bin"
    ).fetchall()
    total = sum(count for _, count, _, _ in bins)
    error = sum(count * abs(said - found) for _, count, said, found in bins) / total if total else None
    return {
        "calls": calls, "top": top, "named": named, "strangers": strangers, "stranger_certainty": stranger_certainty,
        "exact": exact, "exact_right": exact_right, "by_account": by_account, "by_prefix": by_prefix,
        "ceiling": ceiling, "at": at, "bins": bins, "error": error,
    }


def mean(values):
    values = [it for it in values if it is not None]
    return sum(values) / len(values) if values else None


def show(value, digits=3):
    return "–" if value is None else f"{value:.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def pooled(tenants):
    """The bins of all tenants of a scenario together: calls, and the sums of what was said and what was true."""
    sums = {}
    for tenant in tenants:
        for number, count, said, found in tenant["bins"]:
            of_bin = sums.setdefault(number, [0, 0.0, 0.0])
            of_bin[0] += count
            of_bin[1] += count * said
            of_bin[2] += count * found
    return sums


def calibration_error(tenants):
    sums = pooled(tenants)
    total = sum(count for count, _, _ in sums.values())
    return sum(abs(said - found) for _, said, found in sums.values()) / total if total else None


def report(scenarios):
    tops, sures, exacts = [], [], []
    for name, tenants in scenarios.items():
        of = lambda key: mean([it[key] for it in tenants])
        calls = sum(it["calls"] for it in tenants)
        tops.append([name, f"{calls:,}", show(of("top")), show(of("by_account")), show(of("by_prefix")), show(of("ceiling"))])
        row = [name, show(calibration_error(tenants)), show(of("error")), show(of("stranger_certainty"))]
        for threshold in THRESHOLDS:
            covered = mean([it["at"][threshold][0] for it in tenants])
            row.append(f"{show(mean([it['at'][threshold][1] for it in tenants]))} ({show(covered, 2)})")
        sures.append(row)
        exacts.append((sum(it["exact"] for it in tenants), sum(it["exact_right"] for it in tenants)))
    exact, right = sum(it[0] for it in exacts), sum(it[1] for it in exacts)
    print(table(["scenario", "key calls", "whocalled", "latest grant on the account", "latest from the prefix", "best possible"], tops))
    print()
    print(table(["scenario", "calibration error", "of single tenants", "strangers' confidence"] + [f"precision at {it} (coverage)" for it in THRESHOLDS], sures))
    print()
    print(f"Of {exact:,} calls of the tiers `object_id` and `gateway`, {right:,} name who made them.")


def draw(scenarios, path):
    """A small plot for each scenario: what was said on the horizontal axis, what was true on the vertical one."""
    size, gap, left, top = 150, 60, 44, 34
    columns = 4
    rows = -(-len(scenarios) // columns)
    width, height = left + columns * (size + gap), top + rows * (size + gap + 10)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, (name, tenants) in enumerate(scenarios.items()):
        x, y = left + index % columns * (size + gap), top + index // columns * (size + gap + 10)
        at = lambda said, found: (x + said * size, y + (1 - found) * size)
        out.append(f'<text x="{x}" y="{y - 10}" font-weight="bold">{name}</text>')
        out.append(f'<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="#f6f7f9" stroke="#bbb"/>')
        out.append(f'<line x1="{x}" y1="{y + size}" x2="{x + size}" y2="{y}" stroke="#999" stroke-dasharray="4 3"/>')
        for tick in (0, 0.5, 1):
            tx, ty = at(tick, tick)
            out.append(f'<text x="{tx}" y="{y + size + 14}" text-anchor="middle" fill="#777">{tick:g}</text>')
            out.append(f'<text x="{x - 6}" y="{ty + 4}" text-anchor="end" fill="#777">{tick:g}</text>')
        sums = pooled(tenants)
        total = sum(it[0] for it in sums.values()) or 1
        points = [(at(said / count, found / count), count) for _, (count, said, found) in sorted(sums.items())]
        line = " ".join(f"{px:.1f},{py:.1f}" for (px, py), _ in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="1.5"/>')
        for (px, py), count in points:
            radius = 2 + 7 * (count / total) ** 0.5
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{radius:.1f}" fill="#2563eb" fill-opacity="0.55"/>')
    out.append("</svg>")
    pathlib.Path(path).write_text("\n".join(out) + "\n")


def main():
    scenarios = {}
    for directory in sys.argv[2:]:
        name = pathlib.Path(directory).name.rsplit("-", 1)[0]
        scenarios.setdefault(name, []).append(judge(directory))
    report(scenarios)
    draw(scenarios, sys.argv[1])


main()
