#!/usr/bin/env python3
"""Records ids and texts of the RWKV World tokenizer for the tests of core/text.

Recorded with rwkv 0.8.32 (its trie tokenizer, and the vocabulary file inside it, which third_party/rwkv_world holds).
Writes world.json beside itself:
  rows     [{text, ids, plain, all, skip}]: encode of texts.nasty() and more (plain, all and skip so that the tests' common
           reader takes them: World parses and adds no special tokens)
  bytes    [{hex, ids, text}]: encodeBytes of strings that are no UTF-8; text: their bytes as Python replaces what is broken
  decodes  [{ids, text}]: random ids, 0 among them, which has no bytes
  random   {bytes, tokens, sha256}: of the ids (32-bit little-endian) of random_bytes(), which the unit test makes again
  corpus   the same for corpus(), 1.06 MB of texts that compare_world.py sends through the program
    record_world.py
"""
import array
import hashlib
import json
import os
import random

import texts

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = os.path.join(HERE, "..", "..", "..", "third_party", "rwkv_world", "rwkv_vocab_v20230424.txt")
TRICKY = ["User: hi\n\nAssistant:", "User:", "Assistant:", "\n\n", "\n\n\n", "\n" * 8, "\n\n    x", " " * 128, " " * 129, "-" * 200, "<|rwkv_tokenizer_end_of_text|>",
          "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3042\u3044\u3046\u3048\u304a", "\ud55c\uad6d\uc5b4", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "'\"\\", "\\x41 \\n", "\r\n\r\n", "\t\t\tif (x) {\n",
          "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "e\u0301\u0323", "\u00e9", "\ufffd", "\U0010ffff", "0123456789", "http://www.example.com/?q=1&r=%20"]
BROKEN = [b"\xff", b"a\xffb", b"\xe4\xb8", b"\xe4\xb8\xad\xe4", b"\xf0\x9f\x98", b"\x80\x80\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe4a\xb8\xad",
          bytes(range(256)), bytes(reversed(range(256))), b"\x00" * 9, b"caf\xe9", b"\xc3\x28", b"\xf4\x90\x80\x80", b"x\xf0\x9f\x98\x80\xf0\x9f\x98y"]


def random_bytes(token_bytes, size=262144):
    """Tokens, tokens cut short and single bytes in random order. tests/unit/text/world_tokenizer_test.cc makes the same."""
    state, out = 20230424, bytearray()

    def below(bound):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % bound

    while len(out) < size:
        kind, token = below(4), token_bytes(1 + below(65529))
        out += bytes([below(256)]) if kind == 0 else token[:1 + below(len(token))] if kind == 1 else token
    return bytes(out)


def corpus():
    """The same 1.06 MB at any commit: generated texts, the licence, and the vocabulary's own lines (real words of many languages)."""
    samples = texts.nasty() + TRICKY + [texts.mixed(seed, 4096) for seed in range(200)]
    samples += [" " * 20000, "\n" * 5000, "a" * 20000, "ab" * 10000, "1" * 3000, "e\u0301" * 3000]
    with open(os.path.join(HERE, "..", "..", "..", "LICENSE"), encoding="utf-8", newline="") as file:
        samples.append(file.read())
    with open(VOCABULARY, encoding="utf-8", newline="") as file:
        lines = file.read().split("\r\n")
    samples += ["\n".join(line[line.find("'") + 1:line.rfind("'")] for line in lines[at::60]) for at in range(20)]
    return samples


def digest(lists):
    flat = array.array("i", (i for ids in lists for i in ids))
    return {"tokens": len(flat), "sha256": hashlib.sha256(flat.tobytes()).hexdigest()}


def reference():
    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
    return TRIE_TOKENIZER(VOCABULARY)


def main():
    world = reference()
    token_bytes = lambda i: world.idx2token.get(i, b"")
    rows = []
    for text in texts.nasty() + TRICKY:
        ids = world.encode(text)
        back = world.decode(ids)
        rows.append({"text": text, "ids": ids, "plain": ids, "all": back, "skip": back})
    replaced = lambda ids: b"".join(map(token_bytes, ids)).decode("utf-8", errors="replace")
    broken = [{"hex": data.hex(), "ids": world.encodeBytes(data), "text": data.decode("utf-8", errors="replace")} for data in BROKEN]
    rng = random.Random(7)
    decodes = [[rng.choice([0, rng.randint(1, 256), rng.randint(1, 65529)]) for _ in range(rng.randint(0, 8))] for _ in range(200)]
    mixed, samples = random_bytes(token_bytes), corpus()
    out = {"rows": rows, "bytes": broken, "decodes": [{"ids": ids, "text": replaced(ids)} for ids in decodes],
           "random": {"bytes": len(mixed), **digest([world.encodeBytes(mixed)])},
           "corpus": {"bytes": sum(len(text.encode()) for text in samples), **digest(map(world.encode, samples))}}
    with open(os.path.join(HERE, "world.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")
    print(out["random"], out["corpus"])


if __name__ == "__main__":
    main()
