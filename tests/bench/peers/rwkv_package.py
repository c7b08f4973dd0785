"""Sampling by the rwkv package on the CPU in float32, JIT off: rwkv_package.py MODEL.pth decode NEW | prefill TOKENS -> one JSON line.

rwkv_package.py MODEL.pth make [LAYERS WIDTH] writes a random RWKV-6 model in float32 (12 layers of width 768 where nothing else is said, vocabulary 65536).
"""
import json
import os
import sys
import time

os.environ["RWKV_JIT_ON"], os.environ["RWKV_CUDA_ON"], os.environ["RWKV_V7_ON"] = "0", "0", "0"
import torch

model_file, what, *numbers = sys.argv[1:]
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
VOCABULARY, HEAD = 65536, 64


def make(layers=12, width=768):
    torch.manual_seed(1)
    ffn, mix, decay = width * 7 // 2 // 32 * 32, 32, 64
    out = {"emb.weight": torch.randn(VOCABULARY, width) * 0.5}

    def norm(name):
        out[name + ".weight"], out[name + ".bias"] = torch.ones(width), torch.zeros(width)

    for i in range(layers):
        block = f"blocks.{i}."
        if i == 0:
            norm(block + "ln0")
        norm(block + "ln1")
        norm(block + "ln2")
        for stream in "xwkvrg":
            out[block + "att.time_maa_" + stream] = torch.rand(1, 1, width)
        out[block + "att.time_maa_w1"] = torch.randn(width, 5 * mix) * 0.02
        out[block + "att.time_maa_w2"] = torch.randn(5, mix, width) * 0.02
        out[block + "att.time_decay"] = torch.rand(1, 1, width) * 5 - 6
        out[block + "att.time_decay_w1"] = torch.randn(width, decay) * 0.02
        out[block + "att.time_decay_w2"] = torch.randn(decay, width) * 0.02
        out[block + "att.time_faaaa"] = torch.randn(width // HEAD, HEAD) * 0.3
        for name in ("receptance", "key", "value", "gate", "output"):
            out[block + f"att.{name}.weight"] = torch.randn(width, width) / width**0.5
        norm(block + "att.ln_x")
        out[block + "ffn.time_maa_k"], out[block + "ffn.time_maa_r"] = torch.rand(1, 1, width), torch.rand(1, 1, width)
        out[block + "ffn.key.weight"] = torch.randn(ffn, width) / width**0.5
        out[block + "ffn.receptance.weight"] = torch.randn(width, width) / width**0.5
        out[block + "ffn.value.weight"] = torch.randn(width, ffn) / ffn**0.5
    norm("ln_out")
    out["head.weight"] = torch.randn(VOCABULARY, width) / width**0.5
    torch.save(out, model_file)


def prompt(length):
    return [(1000 + 7919 * i) % VOCABULARY for i in range(length)]


def measure():
    from rwkv.model import RWKV

    model, number = RWKV(model=model_file, strategy="cpu fp32"), int(numbers[0])
    with torch.inference_mode():
        if what == "prefill":
            model.forward(prompt(number), None)
            times = []
            for _ in range(5):
                begin = time.perf_counter()
                model.forward(prompt(number), None)
                times.append(time.perf_counter() - begin)
            return number / sorted(times)[2]
        _, state = model.forward(prompt(32), None)
        logits, state = model.forward([7], state)
        begin = time.perf_counter()
        for _ in range(number):
            token = int(torch.multinomial(torch.softmax(logits, -1), 1))
            logits, state = model.forward([token], state)
        return number / (time.perf_counter() - begin)


if what == "make":
    make(*map(int, numbers))
else:
    print(json.dumps({"tokens_per_s": measure()}))
