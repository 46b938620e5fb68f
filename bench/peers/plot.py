"""Draws `bench-peers.json` as bars on a logarithmic axis, least to most: the median, with a line from best to worst."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "calllog-guard"
from matplotlib import pyplot as plt  # noqa: E402

made = json.loads(Path(sys.argv[1]).read_text())
rows = sorted(made["rows"], key=lambda row: -row["us"][1])
figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1.2), layout="constrained")
colours = ["#1f6feb" if row["to_ours"] == 1 and not row["lacks"] else "#8b949e" for row in rows]
middle = [row["us"][1] for row in rows]
spread = [[row["us"][1] - row["us"][0] for row in rows], [row["us"][2] - row["us"][1] for row in rows]]
axes.barh([row["name"] for row in rows], middle, color=colours, xerr=spread, ecolor="#57606a", capsize=3)
for at, value in enumerate(middle):
    axes.annotate(f"{value:.0f}", (value, at), xytext=(6, 6), textcoords="offset points", fontsize=9, color="#57606a")
axes.set_xscale("log")
axes.set_xlabel(f"CPU of the process, us an event (median of {made['rounds']} rounds of {made['events']:,} events)")
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(sys.argv[2], metadata={"Date": None, "Creator": None}, transparent=True)
