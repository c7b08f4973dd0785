#!/usr/bin/env python3
"""Records sampler.json: noise words and sampled tokens computed by this independent implementation of the definition in
core/inference/sampler.h (Philox4x32-10 of Salmon et al. 2011 in Python integers, numpy 2 for float32 and float64). The
first two lines check Philox against the paper's known answers. Pinned: Python 3.11, numpy 2.

A case's logits are made of integers, exactly representable: x = x * 1664525 + 1013904223 mod 2^32 from x = case index,
logit = (x >> 16) / 4096 - 8, times the case's scale.
"""
import json
import math
import os

import numpy as np

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), [key & MASK, key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


assert philox([0] * 4, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox([MASK] * 4, (MASK << 32) | MASK) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def words(seed, group, sample, position, count):
    use_token = 1
    name = philox([group & MASK, group >> 32, sample, use_token], seed)
    key = name[1] << 32 | name[0]
    result = []
    for i in range(count):
        n = (position << 32) | i
        block = n // 4
        result.append(philox([block & MASK, block >> 32, name[2], name[3]], key)[n % 4])
    return result


def logits_of(index, count, scale):
    x, result = index, []
    for _ in range(count):
        x = (x * 1664525 + 1013904223) & MASK
        result.append(((x >> 16) / 4096 - 8) * scale)
    return np.array(result, dtype=np.float32)


def sample(logits, noise, temperature, top_k, top_p, min_p):
    z = logits if temperature == 0 else (logits / np.float32(temperature)).astype(np.float32)
    z = z.astype(np.float64)
    top = z.max()
    p = np.exp(z - top)
    logprob = lambda i: float(z[i] - top - math.log(p.sum()))
    order = sorted(range(len(z)), key=lambda i: (-z[i], i))
    if temperature == 0:
        return order[0], logprob(order[0])
    if top_k > 0:
        order = order[:top_k]
    if top_p < 1:
        total, running, kept = sum(p[i] for i in order), 0.0, []
        for i in order:
            if kept and running >= float(np.float32(top_p)) * total:
                break
            kept.append(i)
            running += p[i]
        order = kept
    order = [i for i in order if p[i] >= float(np.float32(min_p))]
    gumbel = lambda n: -math.log(-math.log((n + 0.5) / 2**32))
    best = max(order, key=lambda i: (z[i] + gumbel(noise[i]), -i))
    return best, logprob(best)


def main():
    cases = []
    for index in range(48):
        count = [5, 64, 257, 1000][index % 4]
        case = dict(index=index, count=count, scale=[0.125, 0.5, 1.0][index % 3], temperature=[1.0, 0.75, 1.5, 0.0][index // 4 % 4],
                    top_k=[0, 0, 40][index % 3], top_p=[1.0, 0.9][index // 3 % 2], min_p=[0.0, 0.02, 0.0][index // 2 % 3],
                    seed=7 + (index << 33), group=(index << 32) | (1 << 24) | 3, sample=index % 5, position=11 * index + (index == 47) * 2**20)
        noise = words(case["seed"], case["group"], case["sample"], case["position"], count)
        token, logprob = sample(logits_of(index, count, case["scale"]), noise, case["temperature"], case["top_k"], case["top_p"], case["min_p"])
        cases.append(dict(case, words=noise[:5], token=token, logprob=logprob))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sampler.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


main()
