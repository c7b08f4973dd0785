"""Sampling by llama.cpp (its server, in this process): llama_cpp_sampling.py MODEL_GGUF decode BATCH [NEW] | prefill TOKENS -> one JSON line."""
import json
import sys
import threading
import time

import xllamacpp

model_file, what, number = sys.argv[1:4]
number, new = int(number), int(sys.argv[4]) if len(sys.argv) > 4 else 128
VOCABULARY = 49152
params = xllamacpp.CommonParams()
params.model.path = model_file
params.n_parallel = number if what == "decode" else 1
params.n_ctx = params.n_parallel * 1024
params.n_batch = params.n_ubatch = 512
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
params.cache_ram_mib = 0
params.warmup = True
server = xllamacpp.Server(params)


def complete(index, length, count):
    ids = [(1000 + 7919 * i + 104729 * index) % VOCABULARY for i in range(length)]
    answer = server.handle_completions({"prompt": ids, "n_predict": count, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "ignore_eos": True, "cache_prompt": False,
                                        "samplers": ["temperature"], "seed": 1})
    answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
    assert answer["usage"]["completion_tokens"] == count, answer
    return answer


def together(batch, length, count):
    threads = [threading.Thread(target=complete, args=(i, length, count)) for i in range(batch)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


if what == "decode":
    together(number, 32, 4)
    print(json.dumps({"tokens_per_s": number * new / together(number, 32, new)}))
else:
    complete(0, number, 1)
    print(json.dumps({"tokens_per_s": number / min(together(1, number, 1) for _ in range(3))}))
