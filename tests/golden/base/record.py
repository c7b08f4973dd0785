#!/usr/bin/env python3
"""Writes gumbel.txt: bits of the sampling noise -log(-log((n + 1/2) / 2^32)) for some words n.

An implementation of its own of the routine that core/base/random.h fixes, in Python's doubles (IEEE 754, no fused
operations); every logarithm is also held against decimal's with 60 digits: it must be within 1 ulp. Any Python >= 3.9.
"""
import decimal
import math
import pathlib
import random
import struct

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
decimal.getcontext().prec = 60


def reduced(x):
    """x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)."""
    mantissa, k = math.frexp(x)          # mantissa in [1/2, 1)
    if mantissa < math.sqrt(0.5):
        mantissa, k = mantissa * 2, k - 1
    return k, mantissa - 1.0


def fixed_log(x):
    k, f = reduced(x)
    s = f / (2.0 + f)
    z = s * s
    half_square = 0.5 * f * f
    r = 2.0 / 25
    for odd in range(23, 2, -2):
        r = 2.0 / odd + z * r
    r *= z
    result = k * LN2_HIGH - ((half_square - (s * (half_square + r) + k * LN2_LOW)) - f)
    exact = decimal.Decimal(x).ln()
    assert abs(decimal.Decimal(result) - exact) <= decimal.Decimal(math.ulp(result)), x
    return result


random.seed(5)
words = [0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff] + [random.getrandbits(32) for _ in range(248)]
lines = []
for word in words:
    noise = -fixed_log(-fixed_log((word + 0.5) / 4294967296.0))
    lines.append(f"{word:08x} {struct.unpack('<Q', struct.pack('<d', noise))[0]:016x}\n")
(pathlib.Path(__file__).parent / "gumbel.txt").write_text("".join(lines))
