"""The data files of a Delta table that its log has added and not removed, a path a line.

live_files.py TABLE
"""
import json
import sys
from pathlib import Path
from urllib.parse import unquote

table = Path(sys.argv[1])
live = set()
for commit in sorted(table.glob("_delta_log/*.json")):
    for action in map(json.loads, commit.read_text().splitlines()):
        if "add" in action:
            live.add(unquote(action["add"]["path"]))
        elif "remove" in action:
            live.discard(unquote(action["remove"]["path"]))
for path in sorted(live):
    print(table / path)
