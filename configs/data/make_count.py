#!/usr/bin/env python3
"""Writes count.jsonl: prompts that name a number, 3 to 8, to be answered with so many words. No constant answer pays on it."""
import json
import pathlib
import random

NUMBERS = range(3, 9)
THINGS = """dog cat tree door moon hand star bird rock ship king book rose hat lamp bell frog drum coat river mountain garden school teacher doctor train
bicycle window kitchen painting letter phone market bridge island forest desert storm cloud rainbow candle clock mirror chair table pillow blanket shoe
button pocket wallet coin key lock fence wall roof floor farmer sailor pilot nurse soldier painter singer writer spider snake horse cow pig goat chicken
duck rabbit lion tiger elephant monkey whale shark dolphin turtle orange lemon banana grape carrot onion tomato museum castle tower barn field hill
valley lake pond""".split()
EXAMPLES = [(3, "apple"), (6, "car")]
ROWS = 480


def messages(number, thing):
    turns = [("system", "You count.")]
    for n, x in EXAMPLES:
        turns += [("user", f"Count {n} {x}s."), ("assistant", " ".join(str(i) for i in range(1, n + 1)))]
    turns.append(("user", f"Count {number} {thing}s."))
    return [{"role": role, "content": text} for role, text in turns]


rows = [(number, thing) for thing in THINGS for number in NUMBERS]
random.Random(7).shuffle(rows)
with open(pathlib.Path(__file__).with_name("count.jsonl"), "w") as out:
    for number, thing in rows[:ROWS]:
        out.write(json.dumps({"words": number, "messages": messages(number, thing)}, separators=(",", ":")) + "\n")
