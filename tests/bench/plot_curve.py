#!/usr/bin/env python3
"""Draws held-out evaluations of runs as an SVG: plot_curve.py OUT.svg RUN_FOLDER[,RUN_FOLDER ...][=label] ...

Reads eval/held_out/avg@1 (one point an evaluation) from each run's metrics.jsonl. Several folders in one series (seeds) become
a line of the mean in a band from the lowest to the highest; also prints start and end of each series. No packages needed.
"""
import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 52, 40, 16, 130
COLOURS = ["#1b6ca8", "#d1495b", "#3a7d44", "#8d5a97", "#c77d0a", "#4a4a4a"]


def points(runs):
    """(step, [value of each run]) of every step that all runs have."""
    curves = []
    for run in runs.split(","):
        rows = [json.loads(line) for line in open(pathlib.Path(run) / "metrics.jsonl")]
        curves.append({row["step"]: row["eval/held_out/avg@1"] for row in rows if "eval/held_out/avg@1" in row})
    return [(step, [curve[step] for curve in curves]) for step in sorted(set.intersection(*map(set, curves)))]


def mean(values):
    return sum(values) / len(values)


def summary(values):
    return f"{mean(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})"


def main():
    out, runs = sys.argv[1], [argument.partition("=") for argument in sys.argv[2:]]
    series = [(label or pathlib.Path(run).name, points(run)) for run, _, label in runs]
    last = max(step for _, line in series for step, _ in line)
    x = lambda step: LEFT + (WIDTH - LEFT - RIGHT) * step / last
    y = lambda value: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in range(0, 11, 2):
        svg.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick / 10):.1f}" y2="{y(tick / 10):.1f}" stroke="#ddd"/>')
        svg.append(f'<text x="{LEFT - 8}" y="{y(tick / 10) + 4:.1f}" text-anchor="end">{tick / 10:.1f}</text>')
    for tick in range(5):
        svg.append(f'<text x="{x(last * tick / 4):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{last * tick // 4}</text>')
    svg.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    svg.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">held-out reward</text>')
    for i, (label, line) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{x(step):.1f},{y(mean(values)):.1f}" for step, values in line)
        edge = [(step, max(values)) for step, values in line] + [(step, min(values)) for step, values in reversed(line)]
        band = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in edge)
        if len(line[0][1]) > 1:
            svg.append(f'<polygon points="{band}" fill="{colour}" fill-opacity="0.15"/>')
        print(f"{label}: {summary(line[0][1])} at step {line[0][0]}, {summary(line[-1][1])} at step {line[-1][0]}")
        svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        svg.append(f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 14 + 18 * i}" fill="{colour}">{label}</text>')
    pathlib.Path(out).write_text("\n".join(svg + ["</svg>"]) + "\n")


main()
