"""Fits the weights of the evidence to tenants whose truth is known, and prints `name weight` lines.

Arguments: the strength of the pull towards the reasoned weights, the parameters file, then one directory per
tenant with `candidates.parquet`, `slots.parquet` and `truth/calls.csv`.

A call is a choice among the holders of a key and an unseen caller (a conditional logit). Weights that
speak for a candidate stay at or above zero and those that speak against one at or below, so that supporting
evidence never lowers anybody; and who was seen nearer in time is never the less likely for it.
"""

import sys
import tomllib

import duckdb
import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize

KINDS = ("address", "rarity", "digits", "entra", "hours", "usage", "habit", "recency", "repetition", "deliberation", "rotation", "unseen", "logs", "others", "prior")
# What others are compared with: their weight says nothing by itself.
FIXED = {
    "prefix_alone", "address_hidden", "digits_unknown", "entra_none", "hours_unknown", "deployment_unknown",
    "grant_last_month", "grants_once", "grant_unknown_app", "not_rotated", "unseen_hidden", "logs_older", "others_unclear", "habit_unknown",
}
FOR = {
    "address_same_month", "digits_same", "entra_call", "hours_usual", "deployment_usual", "habit_caller", "grants_repeated",
    "grant_deliberate", "candidates", "unseen_address", "logs_first_week", "others_unknown",
}
AGAINST = {
    "prefix_few", "prefix_office", "prefix_crowd", "address_colleagues", "address_elsewhere", "digits_differ",
    "hours_unusual", "deployment_other", "habit_none", "grant_older", "grants_automated", "grant_portal", "rotated_once", "others_known",
}
# How far a weight may go whatever the tenants say: all simulated people who call from the office also call from
# home, and real ones do not.
LEAST = {"habit_none": -1.5}
# Each at least as much as the one after it: the parameter is by how much it is more.
STEPS = [
    ["address_same_hour", "address_same_day", "address_day_off", "address_same_week", "address_same_month"],
    ["grant_last_hour", "grant_last_day", "grant_last_week", "grant_last_month"],
    ["logs_first_day", "logs_first_week"],
    ["prefix_few", "prefix_office", "prefix_crowd"],
    ["address_colleagues", "address_elsewhere"],
]


def choices(directory, index):
    """The candidates of a tenant's slots: a row each, with what speaks for it, and how many calls it made."""
    con = duckdb.connect()
    con.execute(f"CREATE VIEW truth AS SELECT * FROM read_csv('{directory}/truth/calls.csv')")
    con.execute(f"""
        CREATE TABLE made AS
        SELECT s.slot, t.principal_id, count(*) AS calls
        FROM '{directory}/slots.parquet' AS s JOIN truth AS t ON t.correlation_id = s.correlation_id GROUP BY ALL""")
    con.execute(f"""
        CREATE TABLE holders AS
        SELECT c.*, coalesce(m.calls, 0) AS calls
        FROM '{directory}/candidates.parquet' AS c
        LEFT JOIN made AS m ON m.slot = c.slot AND m.principal_id = c.principal_id
        WHERE c.slot IN (SELECT slot FROM made)""")
    rows = con.execute("""
        SELECT slot, address, rarity, digits, entra, hours, usage, habit, recency, repetition, deliberation, rotation,
          NULL AS unseen, NULL AS logs, NULL AS others, NULL AS prior, ln(holder_count) AS ln_count, calls, principal_id AS who FROM holders
        UNION ALL
        SELECT slot, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, any_value(unseen), any_value(logs), any_value(others), 'unseen_prior', 0.0,
          (SELECT sum(calls) FROM made WHERE made.slot = holders.slot) - sum(calls), NULL
        FROM holders GROUP BY slot
        ORDER BY slot, who NULLS LAST""").fetchnumpy()
    count = len(rows["slot"])
    at, columns, values = [], [], []
    for kind in KINDS:
        named = rows[kind]
        present = ~np.ma.getmaskarray(named) if np.ma.isMaskedArray(named) else np.array([it is not None for it in named])
        where = np.flatnonzero(present)
        at.append(where)
        columns.append(np.array([index[it] for it in np.asarray(named)[where]], dtype=int))
        values.append(np.ones(len(where)))
    at.append(np.arange(count))
    columns.append(np.full(count, index["candidates"]))
    values.append(-np.asarray(rows["ln_count"], float))
    matrix = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(at), np.concatenate(columns))), shape=(count, len(index)))
    slots = np.asarray(rows["slot"])
    starts = np.r_[0, np.flatnonzero(np.diff(slots)) + 1]
    return matrix, np.asarray(rows["calls"], float), starts, np.diff(np.r_[starts, count])


def main():
    pull = float(sys.argv[1])
    with open(sys.argv[2], "rb") as file:
        model = tomllib.load(file)["weight"]
    names = [it["name"] for it in model]
    index = {name: number for number, name in enumerate(names)}
    prior = np.array([it["prior"] for it in model])
    tenants = [choices(directory, index) for directory in sys.argv[3:]]

    # A weight is the sum of its own step and of those after it, towards the end that counts as zero or less.
    to_weights = np.eye(len(names))
    for chain in STEPS:
        falls = chain[0].startswith(("prefix", "address_colleagues"))
        for number, name in enumerate(chain):
            for other in chain[:number] if falls else chain[number + 1:]:
                to_weights[index[name], index[other]] = 1
    first = np.linalg.solve(to_weights, prior)
    free = np.array([name not in FIXED for name in names])
    steps = {name for chain in STEPS for name in chain}
    bounds = []
    for name in names:
        if name in AGAINST:
            bounds.append((LEAST.get(name), 0))
        elif name in FOR or name in steps:
            bounds.append((0, None))
        else:
            bounds.append((None, None))

    def loss(parameters):
        weights = to_weights @ parameters
        total, slope = pull * ((weights - prior) ** 2).sum(), 2 * pull * (weights - prior)
        for matrix, calls, starts, lengths in tenants:
            scores = matrix @ weights
            highest = np.maximum.reduceat(scores, starts)
            odds = np.exp(scores - np.repeat(highest, lengths))
            sums = np.add.reduceat(odds, starts)
            of_slot = np.add.reduceat(calls, starts)
            share = 1 / (calls.sum() * len(tenants))
            total -= share * (calls * (scores - np.repeat(highest + np.log(sums), lengths))).sum()
            slope = slope - share * (matrix.T @ (calls - np.repeat(of_slot / sums, lengths) * odds))
        return total, (to_weights.T @ slope) * free

    fitted = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    print(f"loss {loss(first)[0]:.4f} before, {fitted.fun:.4f} after {fitted.nit} steps", file=sys.stderr)
    for name, weight in zip(names, to_weights @ fitted.x):
        print(name, f"{weight:.2f}")


main()
