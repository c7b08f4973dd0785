"""Records SequenceMatcher ratios of Python's difflib (3.11), which reverse_text's mode "lcs" must give.

    python3 tests/golden/rewards/record.py > tests/golden/rewards/sequence_matcher.json
"""

import json
import random
import sys
from difflib import SequenceMatcher

rng = random.Random(5)


def text(alphabet, length):
    return "".join(rng.choice(alphabet) for _ in range(length))


def edited(source, alphabet, edits):
    out = list(source)
    for _ in range(edits):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(3)
        if kind == 0:
            out.insert(at, rng.choice(alphabet))
        elif out and at < len(out):
            if kind == 1:
                del out[at]
            else:
                out[at] = rng.choice(alphabet)
    return "".join(out)


pairs = [("", "abc"), ("abc", "abc"), ("abcd", "bcde"), ("aaaa", "aa"), ("x", "y"), ("\u00e9t\u00e9 \u00df", "\u00df \u00e9t\u00e9"),
         ("\u4f60\u597d\u4e16\u754c", "\u754c\u4e16\u597d\u4f60"), ("\U0001f600a\U0001f601", "\U0001f601a\U0001f600")]
for alphabet in ("ab", "abcdefgh", "abcdefghijklmnopqrstuvwxyz ", "a\u00e9\u4f60\U0001f600 "):
    for length in (5, 20, 80, 199, 200, 201, 320):
        source = text(alphabet, length)
        pairs.append((edited(source, alphabet, length // 8 + 1), source))
        pairs.append((text(alphabet, length), source))
        pairs.append((source[::-1], source))
json.dump([{"completion": a, "answer": b, "ratio": SequenceMatcher(None, a, b).ratio()} for a, b in pairs], sys.stdout, indent=0)
sys.stdout.write("\n")
