#!/usr/bin/env python3
"""Writes words.jsonl: prompts that ask for a number of words, 3 to 8, about a topic. No constant answer pays on it."""
import json
import pathlib
import random

NUMBERS = {3: "Three", 4: "Four", 5: "Five", 6: "Six", 7: "Seven", 8: "Eight"}
TOPICS = """sun cat tree rain door fish moon bread hand star bird rock wind leaf ship gold snow fire road book milk rose hat king lamp sand
corn bell frog drum coat river mountain garden school teacher doctor train bicycle window kitchen winter summer autumn spring morning night
music painting dance letter phone market bridge island forest desert storm cloud rainbow candle clock mirror chair table pillow blanket shoe
button pocket wallet coin key lock fence wall roof floor stairs baker farmer sailor pilot nurse soldier painter singer writer butterfly spider
snake horse cow sheep pig goat chicken duck goose mouse rabbit fox wolf bear lion tiger elephant monkey whale shark dolphin turtle apple orange
lemon banana grape cherry peach potato carrot onion tomato rice soup cheese butter honey sugar salt pepper coffee juice water ice beach harbor
village city street park museum library church castle tower farm barn field hill valley lake pond""".split()

EXAMPLES = [("Three words about the dog.", "Loyal furry friend."), ("Seven words about the sea.", "Blue waves roll on without any end.")]
ROWS = 480


def messages(question):
    turns = [("system", "You answer with exactly the number of words asked for.")]
    for asked, answer in EXAMPLES:
        turns += [("user", asked), ("assistant", answer)]
    return [{"role": role, "content": text} for role, text in turns + [("user", question)]]


rows = [(number, topic) for topic in TOPICS for number in NUMBERS]
random.Random(7).shuffle(rows)
with open(pathlib.Path(__file__).with_name("words.jsonl"), "w") as out:
    for number, topic in rows[:ROWS]:
        question = f"{NUMBERS[number]} words about the {topic}."
        out.write(json.dumps({"words": number, "topic": topic, "messages": messages(question)}, separators=(",", ":")) + "\n")
