"""Sampling by transformers: transformers_sampling.py MODEL_GGUF float32|bfloat16 decode BATCH [NEW] | prefill TOKENS -> one JSON line."""
import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM

model_file, dtype, what, number = sys.argv[1:5]
number, new = int(number), int(sys.argv[5]) if len(sys.argv) > 5 else 128
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(os.path.dirname(model_file), gguf_file=os.path.basename(model_file), dtype=torch.float32).to(getattr(torch, dtype)).eval()
vocabulary = model.config.vocab_size


def prompts(batch, length):
    return torch.tensor([[(1000 + 7919 * i + 104729 * b) % vocabulary for i in range(length)] for b in range(batch)])


def generate(ids, count):
    begin = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, temperature=1.0, min_new_tokens=count, max_new_tokens=count, pad_token_id=0)
    assert out.shape[1] == ids.shape[1] + count
    return time.perf_counter() - begin


if what == "decode":
    ids = prompts(number, 32)
    generate(ids, 4)
    print(json.dumps({"tokens_per_s": number * new / generate(ids, new)}))
else:
    ids = prompts(1, number)
    generate(ids, 1)
    print(json.dumps({"tokens_per_s": number / min(generate(ids, 1) for _ in range(3))}))
