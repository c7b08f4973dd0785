#!/usr/bin/env python3
"""Compares one model folder as volery reads it with how transformers reads it.

  check_hf_folder.py VOLERY_BINARY FOLDER [LOGIT_TOLERANCE]

Runs `volery tokenize` and `volery score --logits` on a few texts and checks ids (equal) and float32 logits (largest
difference at most LOGIT_TOLERANCE, default 1e-4). Pinned: torch 2.13.0, transformers 5.23.0, tokenizers 0.23.3.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = ["abc>cba", "a b c", "Hello world, x  12 + 345.", "def f(x):\n    return x\n"]


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


def main():
    binary, folder = sys.argv[1:3]
    tolerance = float(sys.argv[3]) if len(sys.argv) > 3 else 1e-4
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with tempfile.TemporaryDirectory() as temporary:
        texts, lists = os.path.join(temporary, "texts.jsonl"), os.path.join(temporary, "ids.jsonl")
        with open(texts, "w") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in TEXTS)
        rows = [json.loads(line) for line in run(binary, "tokenize", "--tokenizer", folder, "--input", texts).splitlines()]
        wanted = [tokenizer(text)["input_ids"] for text in TEXTS]
        failed = [row["ids"] for row in rows] != wanted
        if failed:
            print("ids differ:", [row["ids"] for row in rows], wanted)
        with open(lists, "w") as file:
            file.writelines(json.dumps({"tokens": ids}) + "\n" for ids in wanted)
        logits_path = os.path.join(temporary, "logits.safetensors")
        run(binary, "score", "--model", folder, "--input", lists, "--output", os.path.join(temporary, "scores.jsonl"),
            "--logits", logits_path, "--threads", "1")
        logits = load_file(logits_path)
        scores = [json.loads(line) for line in open(os.path.join(temporary, "scores.jsonl"))]
    for i, ids in enumerate(wanted):
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0]
        error = (logits[f"logits.{i}"] - expected).abs().max().item()
        logprobs = torch.log_softmax(expected, -1)[:-1].gather(1, torch.tensor(ids[1:], dtype=torch.long)[:, None])[:, 0]
        score_error = (torch.tensor(scores[i]["logprobs"]) - logprobs).abs().max().item() if len(ids) > 1 else 0.0
        print(f"{TEXTS[i]!r}: {len(ids)} tokens, logits differ by {error:.2e}, log-probs by {score_error:.2e}")
        failed |= not (error <= tolerance and score_error <= tolerance)
    sys.exit(1 if failed else 0)


main()
