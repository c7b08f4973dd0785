"""Training by transformers: transformers_training.py MODEL_GGUF float32 padded|sorted|packed -> one JSON line. One step of AdamW over 64 sequences of 16 to 512
tokens (those of bench_training packed): eight at a time, padded, as they come or sorted by length; or packed in rows of 1024 with a block-diagonal mask."""
import json
import os
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM

model_file, dtype, layout = sys.argv[1:4]
dtype = getattr(torch, dtype)
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(os.path.dirname(model_file), gguf_file=os.path.basename(model_file), dtype=torch.float32).to(dtype)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
vocabulary = model.config.vocab_size
lengths = [int(16 * 32 ** (((i * 37 % 64) + 0.5) / 64) ** 1.5) for i in range(64)]
sequences = [[1] + [(1000 + 7919 * i + 104729 * b) % vocabulary for i in range(length - 1)] for b, length in enumerate(lengths)]


def padded(some):
    longest = max(map(len, some))
    ids, labels = torch.zeros(len(some), longest, dtype=torch.long), torch.full((len(some), longest), -100)
    mask = torch.zeros(len(some), longest, dtype=torch.long)
    for row, tokens in enumerate(some):
        ids[row, : len(tokens)] = labels[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def packed(some):
    ids = torch.tensor([sum(some, [])])
    labels, positions = ids.clone(), torch.cat([torch.arange(len(tokens)) for tokens in some])[None]
    mask = torch.full((ids.shape[1], ids.shape[1]), torch.finfo(dtype).min, dtype=dtype)
    at = 0
    for tokens in some:
        end = at + len(tokens)
        mask[at:end, at:end].triu_(1)
        labels[0, at] = -100
        at = end
    return dict(input_ids=ids, position_ids=positions, attention_mask=mask[None, None], labels=labels)


def batches():
    if layout == "packed":
        row = []
        for tokens in sequences:
            if sum(map(len, row)) + len(tokens) > 1024:
                yield packed(row)
                row = []
            row.append(tokens)
        yield packed(row)
        return
    order = sorted(sequences, key=len) if layout == "sorted" else sequences
    for begin in range(0, len(order), 8):
        yield padded(order[begin : begin + 8])


def step(batch_list):
    optimizer.zero_grad()
    targets = sum(map(len, sequences)) - len(sequences)
    for batch in batch_list:
        model(**batch, num_items_in_batch=targets).loss.backward()
    optimizer.step()


step([padded([tokens[:16] for tokens in sequences[:2]])])
begin = time.perf_counter()
step(batches())
seconds = time.perf_counter() - begin
tokens = sum(map(len, sequences))
print(json.dumps({"tokens": tokens, "tokens_per_s": tokens / seconds, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
