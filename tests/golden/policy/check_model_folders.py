#!/usr/bin/env python3
"""Loads every model folder that write_model_folders made with transformers and compares.

  check_model_folders.py FOLDERS GOLDEN_MODELS

Weights and logits: a folder that has a recording in GOLDEN_MODELS must give its logits (float32, 1e-5); every folder must
load without missing or unexpected tensors, in the dtype that its config.json names. Tokenizer: AutoTokenizer must give the
ids of ids.json. Pinned: torch 2.13.0, transformers 5.23.0, tokenizers 0.23.3.
"""
import json
import os
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast


def check(folder, recording):
    problems = []
    config = json.load(open(os.path.join(folder, "config.json")))
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            problems.append(f"{kind}: {sorted(info[kind])[:5]}")
    wanted = config.get("dtype", config.get("torch_dtype"))
    if model.dtype != getattr(torch, wanted):
        problems.append(f"loads as {model.dtype}, config.json says {wanted}")
    if os.path.exists(recording):
        golden = load_file(recording)
        with torch.no_grad():
            logits = model(golden["tokens"]).logits.float()
        error = (logits - golden["logits"]).abs().max().item()
        if not error <= 1e-5:
            problems.append(f"logits differ by {error}")
    # For model_type qwen2 this AutoTokenizer builds Qwen's own pipeline around any vocabulary, whatever tokenizer.json says.
    tokenizer_class = PreTrainedTokenizerFast if config["model_type"] == "qwen2" else AutoTokenizer
    tokenizer = tokenizer_class.from_pretrained(folder)
    for row in json.load(open(os.path.join(folder, "ids.json"))):
        ids = tokenizer(row["text"])["input_ids"]
        if ids != row["ids"]:
            problems.append(f"{row['text']!r}: transformers gives {ids}, we give {row['ids']}")
    if len(tokenizer) > model.config.vocab_size:
        problems.append(f"{len(tokenizer)} tokens for {model.config.vocab_size} rows")
    GenerationConfig.from_pretrained(folder)
    return problems


def main():
    folders, golden = sys.argv[1:]
    torch.set_num_threads(1)
    names = sorted(os.listdir(folders))
    known = ("llama", "qwen2", "qwen3")  # what transformers loads
    configs = [os.path.join(golden, name, "config.json") for name in os.listdir(golden)]
    recorded = sum(json.load(open(path))["model_type"] in known for path in configs if os.path.exists(path))
    if len(names) != recorded + 2:
        sys.exit(f"{len(names)} folders in {folders}, expected {recorded + 2}")
    failed = 0
    for name in names:
        problems = check(os.path.join(folders, name), os.path.join(golden, name, "golden.safetensors"))
        failed += bool(problems)
        print(name, "ok" if not problems else "")
        for problem in problems:
            print("   ", problem)
    sys.exit(1 if failed else 0)


main()
