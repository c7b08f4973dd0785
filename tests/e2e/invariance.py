"""A rollout's bits depend on nothing but the task, the seed and the weights: the same output for any number of slots and threads and at every
instruction level that this processor has; and a run's weights don't depend on the number of threads."""
import json
import pathlib
import tempfile

from common import REVERSE, checkpoint, expect, expect_ok, volery, weights

FLAGS = set(next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split())
LEVELS = ["plain"] + (["avx2"] if {"avx2", "fma"} <= FLAGS else []) + (["avx512"] if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= FLAGS else [])
TINY = ["steps=2", "model.layers=2", "model.width=48", "model.heads=3", "warmup.until=0.0001", "warmup.max_steps=30", "rollout.groups_per_step=6", "rollout.group_size=4",
        "eval.tasks=16", "eval.every=0", "algorithm.max_refill=0", "max_staleness=0"]


def train(folder, name, *words):
    expect_ok(volery("run", REVERSE, f"runs={folder}", f"name={name}", *TINY, *words))
    return checkpoint(folder / name)


def same(a, b):
    return a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    model = train(folder, "two", "threads.trainer=2", "threads.sampler=2")
    reference = weights(model)
    other = weights(train(folder, "one", "threads.trainer=1", "threads.sampler=1"))
    expect(same(other, reference), "one thread instead of two leaves other weights in", [k for k in other if (other[k] != reference[k]).any()])
    print("ok: the same weights from one thread and from two")

    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": "abcdefghij"[i % 7:i % 7 + 1 + i % 4] + ">"}) + "\n" for i in range(30)))

    def said(*words, **extra):
        return expect_ok(volery("generate", "--model", model, "--input", prompts, "--samples", "3", "--max-new-tokens", "12", "--seed", "5", "--json", *words, **extra)).stdout

    for dtype in ("float32", "bfloat16"):
        expected = said("--dtype", dtype, "--slots", "64")
        expect(len(set(line.split('"ids"')[1] for line in expected.splitlines())) > 20, "too few different answers", expected[:500])
        for words in (("--slots", "1"), ("--slots", "4"), ("--slots", "64", "--threads", "1"), ("--slots", "7", "--threads", "2")):
            expect(said("--dtype", dtype, *words) == expected, "other rollouts in", dtype, "with", *words)
        for level in LEVELS:
            expect(said("--dtype", dtype, "--slots", "16", VOLERY_ISA=level) == expected, "other rollouts in", dtype, "at", level)
        print("ok:", dtype, "rollouts at", ", ".join(LEVELS))
