"""tests/released.sh on tiny models: its accuracy, perplexity and loss against the logits themselves, the verdict against a figure, what it refuses."""
import importlib.util
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file

from common import SOURCE, VOLERY, checkpoint, environment, expect, expect_failure, expect_ok, volery

SCRIPT = SOURCE / "tests/released.sh"
RECIPE = """
steps = 60
[model]
family = "rwkv6"
layers = 2
width = 64
heads = 1
context = 256
tied = false
tokenizer = "bytes"
[pretrain]
context = 64
sequences = 4
[[data]]
file = "text.txt"
[trainer.optim]
learning_rate = 1e-2
[threads]
trainer = 1
"""
PASSAGES = ["the cat sat on the mat", "on the mat sat the cat", "Line one.\nThe old captain saw\u2028the cat", "Anna said \u201cyes\u201d to Ben", "the cat sat on the"]


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    (folder / "text.txt").write_text("the cat sat on the mat and " * 200)
    (folder / "tiny.toml").write_text(RECIPE)
    expect_ok(volery("pretrain", folder / "tiny.toml", f"runs={folder}/runs"))
    model = folder / "tiny.pth"
    expect_ok(volery("convert", "--input", checkpoint(folder / "runs/tiny"), "--output", model, "--dtype", "float32"))
    data = folder / "passages.jsonl"
    data.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in PASSAGES))

    def released(*words):
        return subprocess.run([SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=300, env=environment(VOLERY_BINARY=VOLERY))

    def logits(rows):
        (folder / "rows.jsonl").write_text("".join(json.dumps({"tokens": row}) + "\n" for row in rows))
        expect_ok(volery("score", "--model", model, "--input", folder / "rows.jsonl", "--output", folder / "out.jsonl", "--logits", folder / "logits.safetensors"))
        tensors = load_file(str(folder / "logits.safetensors"))
        return [log_softmax(tensors[f"logits.{i}"]) for i in range(len(rows))]

    # LAMBADA: from the logits.
    common = [model, "--any", "--tokenizer", "bytes", "--threads", 1]
    parts = [(text.rsplit(" ", 1)[0], " " + text.rsplit(" ", 1)[1]) for text in PASSAGES]
    for first in (0, 10):
        rows = [[first] + list((context + word).encode()) for context, word in parts]
        sums, right = [], []
        for (_, word), row, log in zip(parts, rows, logits(rows)):
            places = range(len(row) - len(word.encode()), len(row))
            sums.append(sum(log[i - 1, row[i]] for i in places))
            right.append(all(log[i - 1].argmax() == row[i] for i in places))
        expect(0 < sum(right) < len(right), "the passages are all right or all wrong", right)
        done = expect_ok(released(*common, data, *(["--first", first] if first else [])))
        expect("published: none on record" in done.stdout, done.stdout)
        accuracy, perplexity = [float(part.split()[-1]) for part in done.stdout.split("passages,")[1].splitlines()[0].split(",")]
        expect(abs(accuracy - np.mean(right)) < 1e-4, accuracy, right)
        expect(abs(perplexity / np.exp(-np.mean(sums)) - 1) < 2e-3, perplexity, np.exp(-np.mean(sums)))
    expect("2 passages" in expect_ok(released(*common, data, "--limit", 2)).stdout, "--limit")

    # The loss: from the logits, of text and of the binidx it makes.
    (folder / "held.txt").write_text("the dog sat on the mat and the cat sat on the rug")
    ids = list((folder / "held.txt").read_bytes()) + [0]
    windows = [ids[i:i + 16] for i in range(0, len(ids) - 1, 15)]
    losses = [-log[i, row[i + 1]] for row, log in zip(windows, logits(windows)) for i in range(len(row) - 1)]
    expect(len(losses) == len(ids) - 1, len(losses))
    expect_ok(volery("convert", "--input", folder / "held.txt", "--tokenizer", "bytes", "--end-id", 0, "--output", folder / "held.idx"))
    for text in ("held.txt", "held.idx"):
        done = expect_ok(released(*common, folder / text, "--context", 16)).stdout
        expect(f"over {len(losses)} tokens" in done and abs(float(done.split("loss: ")[1].split()[0]) - np.mean(losses)) < 1e-3, done, np.mean(losses))

    # What it refuses.
    def refused(name, words, *parts):
        expect_failure(2, name, released(*words), *parts)

    def write(name, text):
        (folder / name).write_text(text)
        return folder / name

    refused("no checkpoint", [folder / "nowhere.pth", data], "nowhere.pth", "no such file")
    refused("no data", [model, folder / "nowhere.jsonl"], "nowhere.jsonl", "no such file")
    refused("not a checkpoint", [folder / "text.txt", data], "text.txt", ".pth")
    refused("no release", [model, data, "--tokenizer", "bytes"], "rwkv6, 2 layers, width 64", "L12-D768/goldfinch", "2.6582", "--any")
    refused("wrong release", [model, data, "--tokenizer", "bytes", "--release", "rwkv-6-world-7b"], "another shape")
    refused("nothing to measure on", common, "lambada_test.jsonl")
    refused("unknown kind of data", [*common, write("data.csv", "a,b\n")], "data.csv", ".jsonl")
    for number, line in enumerate(['{"prompt": "a b"}', "a b", '{"text": "word"}', '{"text": "ends with \\n"}', "", "[]", '{"text": 1}']):
        refused(f"not LAMBADA: {line}", [*common, write(f"{number}.jsonl", data.read_text() + line + "\n" if line else "")], f"{number}.jsonl:{6 if line else 1}", "LAMBADA")
    refused("not binidx", [*common, write("short.idx", "MMIDIDX")], "short.idx", "binidx")

    # The verdict: as if tiny.pth were a release.
    os.environ["VOLERY_BINARY"] = VOLERY
    spec = importlib.util.spec_from_file_location("released_script", SOURCE / "tests/released.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    shape = expect_ok(released(*common, data)).stdout.split(": ")[1].split(", ")
    parameters = int(shape[3].split()[0])
    for published, good in ((accuracy, perplexity), True), ((accuracy, perplexity * 1e60), False), ((accuracy + 3, None), False), (2.0, False), (np.mean(losses), True):
        is_loss = not isinstance(published, tuple)
        script.RELEASES = [script.Release("tiny", "rwkv6", 2, 64, parameters, 10, None if is_loss else (*published, "a table"), (published, "a table") if is_loss else None)]
        script.sys.argv = ["released.sh", str(model), str(folder / "held.txt" if is_loss else data), "--tokenizer", "bytes", "--threads", "1", "--context", "16"]
        expect(script.main() == (0 if good else 1), "verdict on", published)
    print("ok: verdicts")
