#!/usr/bin/env python3
"""Writes sums.txt: little texts, a blank line between them, in which someone gets more of a thing and the last number is a sum."""
import pathlib
import random

NAMES = "Anna Ben Carla David Emma Felix Greta Henry Ida Jonas Klara Leo Mia Noah Olga Paul".split()
THINGS = "apple ball book card coin cup drum egg flag hat key lamp leaf nut pen plum shell stamp stone toy".split()
OPENINGS = ["{a} has {x} {t}s.", "There are {x} {t}s on {a}'s table.", "{a} found {x} {t}s."]
MIDDLES = ["{b} brings {y} more.", "Then {y} more come from {b}.", "{b} adds {y}."]
ENDS = ["Now there are {z} {t}s.", "Together that makes {z}.", "{a} counts {z} {t}s."]

rng = random.Random(11)
texts = []
for _ in range(2400):
    a, b = rng.sample(NAMES, 2)
    x, y = rng.randrange(2, 30), rng.randrange(2, 30)
    parts = [rng.choice(OPENINGS), rng.choice(MIDDLES), rng.choice(ENDS)]
    texts.append(" ".join(parts).format(a=a, b=b, t=rng.choice(THINGS), x=x, y=y, z=x + y))
pathlib.Path(__file__).with_name("sums.txt").write_text("\n\n".join(texts) + "\n")
