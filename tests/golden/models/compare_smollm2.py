#!/usr/bin/env python3
"""Greedy tokens of `volery generate` against those of transformers (smollm2.json, recorded by record.py).

  compare_smollm2.py VOLERY MODEL.gguf
"""
import json
import os
import subprocess
import sys
import tempfile


def main(volery, model):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "smollm2.json")) as f:
        prompts = json.load(f)["prompts"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "prompts.jsonl")
        with open(path, "w") as f:
            for prompt in prompts:
                f.write(json.dumps({"tokens": prompt["prompt_ids"]}) + "\n")
        command = [volery, "generate", "--model", model, "--input", path, "--temperature", "0",
                   "--max-new-tokens", "64", "--json"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=500)
    if run.returncode != 0:
        return f"{' '.join(command)}: exit {run.returncode}"
    lines = {line["index"]: line for line in map(json.loads, run.stdout.splitlines())}
    wrong = 0
    for index, prompt in enumerate(prompts):
        ids, expected = lines[index]["ids"], prompt["greedy_ids"]
        same = ids == expected
        wrong += not same
        first = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))
        print(f"prompt {index}: {len(expected)} tokens, " + ("equal" if same else f"first difference at {first}"))
        ended = "stop" if expected[-1] == 2 else "length"
        if lines[index]["stop_reason"] != ended:
            print(f"prompt {index}: stop_reason {lines[index]['stop_reason']}, expected {ended}")
            wrong += 1
    return f"{wrong} differences" if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
