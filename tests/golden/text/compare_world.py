#!/usr/bin/env python3
"""Compares `volery tokenize --tokenizer world` with the recorded ids of the rwkv package, on 1.06 MB of mixed text.

    compare_world.py --volery build/release/bin/volery [--reference]

The ids of record_world.corpus() must have the recorded SHA-256, and decode to the texts. With --reference (and rwkv 0.8.32
installed) text by text against the package, naming the first difference. Exit status 1 when
anything differs. What JSON can't carry, broken UTF-8, is compared in tests/unit/text/world_tokenizer_test.cc.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare
import record_world


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volery", required=True)
    parser.add_argument("--reference", action="store_true")
    args = parser.parse_args()
    samples = record_world.corpus()
    if args.reference:
        world = record_world.reference()
        sys.exit(1 if compare.compare("World", args.volery, "world", world.encode, world.decode, samples) else 0)
    with open(os.path.join(record_world.HERE, "world.json"), encoding="utf-8") as file:
        expected = json.load(file)["corpus"]
    got = compare.tokenize(args.volery, "world", [{"text": text} for text in samples])
    back = compare.tokenize(args.volery, "world", [{"ids": ids} for ids in got], decode=True)
    same = {"bytes": expected["bytes"], **record_world.digest(got)} == expected
    print(f"World: {len(samples)} texts, {expected['bytes']} bytes, {expected['tokens']} tokens: ids {'equal' if same else 'DIFFER'}, "
          f"texts {'equal' if back == samples else 'DIFFER'}")
    sys.exit(0 if same and back == samples else 1)


if __name__ == "__main__":
    main()
