"""Next-token training as a user meets it: a tiny llama on bytes learns; a run is the same bit for bit across Ctrl-C and --resume;
frozen tensors stay; mixtures, binidx, validation files; every recipe of configs/pretrain starts; what is wrong is said at once."""
import hashlib
import json
import pathlib
import random
import signal
import socket
import subprocess
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import REVERSE, SOURCE, VOLERY, checkpoint, environment, expect, expect_failure, expect_ok, metrics, volery, weights

RECIPE = """
seed = 1
steps = 60
[model]
family = "llama"
layers = 2
width = 64
heads = 2
context = 64
tokenizer = "bytes"
[pretrain]
context = 64
sequences = 8
[[data]]
file = "a.txt"
separator = "\\n"
[validation]
sequences = 8
every = 20
[trainer]
optim = { learning_rate = 3e-3, warmup_steps = 3, schedule = "cosine" }
[checkpoint]
every = 4
[threads]
trainer = 1
"""
UNSTEADY = ("time/", "memory/", "tokens_per_s")


def steady(run):
    return [{k: v for k, v in row.items() if not k.startswith(UNSTEADY)} for row in metrics(run)]


def same_weights(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def interrupted(words, at):
    """Starts a run, sends SIGINT when it has shown step `at`, and returns what it printed."""
    process = subprocess.Popen([VOLERY, *map(str, words)], env=environment(), stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if f"step {at}/" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    expect(process.wait(timeout=300) == 130, "exit", process.returncode, "".join(lines), rest)
    return rest


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    runs = folder / "runs"
    rng = random.Random(1)
    lines = [f"{rng.choice(['Anna', 'Ben', 'Ida'])} has {n} balls and gets {m} more. Now there are {n + m}."
             for n, m in ((rng.randrange(50), rng.randrange(50)) for _ in range(1200))]
    (folder / "a.txt").write_text("\n".join(lines))
    (folder / "b.jsonl").write_text("".join(json.dumps({"body": "xyz " * 20}) + "\n" for _ in range(60)))
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)

    def pretrain(name, *words, **options):
        return volery("pretrain", recipe, f"runs={runs}", f"name={name}", *words, **options)

    # It learns, and the run folder is that of `volery run`.
    done = expect_ok(pretrain("first")).stderr
    rows = metrics(runs / "first")
    losses = [row["loss"] for row in rows if "loss" in row]
    measured = [row["validation/loss"] for row in rows if "validation/loss" in row]
    expect(len(losses) == 60 and losses[0] > 5 and losses[-1] < 3, losses)
    expect(len(measured) == 4 and measured[-1] < 3 < 5 < measured[0], measured)
    expect("validation loss:" in done and "model:" in done, done)
    expect({"grad_norm", "lr", "tokens", "tokens_seen", "tokens_per_s", "time/step", "memory/peak", "loss_at/64"} <= set(rows[1]), rows[1])
    card = (checkpoint(runs / "first") / "README.md").read_text()
    expect(card.startswith("---\n") and "next-token training" in card and f"| validation/loss | {measured[-1]:.9g} |" in card and str(folder) not in card, card)
    expect(hashlib.sha256((runs / "first" / "recipe.toml").read_bytes()).hexdigest() in card, "the recipe's hash in the card")
    expect((runs / "first" / "recipe.toml").exists() and any((runs / "first" / "events").iterdir()), "run folder")
    generated = expect_ok(volery("generate", "--model", checkpoint(runs / "first"), "--prompt", "Anna has", "--max-new-tokens", 4, "--temperature", 0)).stdout
    expect(generated.strip() != "", "nothing generated")

    # The same again, and interrupted and resumed: the same bits.
    rest = interrupted(["pretrain", recipe, f"runs={runs}", "name=resumed"], 6)
    expect("--resume" in rest and " pretrain " in rest, rest)
    expect(len(metrics(runs / "resumed")) < 40, "the run was not stopped early")
    expect_ok(pretrain("resumed", "--resume"))
    expect(same_weights(weights(checkpoint(runs / "first")), weights(checkpoint(runs / "resumed"))), "resumed run: weights differ")
    expect(steady(runs / "first") == steady(runs / "resumed"), "resumed run: metrics differ")
    resumed = checkpoint(runs / "resumed") / "README.md"
    measured_last = lambda text: text.split("## Measured last")[1]
    expect(measured_last(resumed.read_text()) == measured_last(card), resumed.read_text())
    # Nothing is left to do: what a person wrote into the card stays.
    resumed.write_text("my own words")
    expect_ok(pretrain("resumed", "--resume"))
    expect(resumed.read_text() == "my own words", resumed.read_text())
    # A run that has ended goes on from its last step.
    longer = expect_ok(pretrain("resumed", "steps=62", "--resume")).stderr
    expect("resuming after step 60" in longer and "damaged" not in longer and checkpoint(runs / "resumed").name == "step_62", longer)
    expect_failure(2, "existing run", pretrain("first"), "--resume", "name=", "pretrain")
    expect_failure(2, "resume with another text", pretrain("first", "pretrain.sequences=4", "steps=70", "--resume"), "another text", "4 sequences")

    # Frozen tensors.
    expect_ok(pretrain("start", "steps=1", "trainer.optim.learning_rate=1e-9"))
    expect_ok(pretrain("frozen", "steps=5", 'pretrain.trainable=["model.layers.1.*"]'))
    start, frozen = weights(checkpoint(runs / "start")), weights(checkpoint(runs / "frozen"))
    for name in start:
        moved = float(np.abs(start[name] - frozen[name]).max()) > 1e-5
        expect(moved == name.startswith("model.layers.1."), name, "moved" if moved else "stayed")
    state = (checkpoint(runs / "frozen") / "trainer" / "trainer.safetensors").read_bytes()
    expect(b"master/model.layers.1." in state and b"model.layers.0." not in state, "optimiser state of frozen tensors")

    # binidx, mixtures, a validation file, Parquet-like columns, activation checkpointing, bfloat16, L2Wrap.
    made = expect_ok(volery("convert", "--input", folder / "a.txt", "--separator", "\n", "--tokenizer", "bytes", "--output", folder / "a.idx")).stdout
    expect("1200 documents" in made and "uint16" in made, made)
    expect_ok(pretrain("binidx", f"data.0.file={folder / 'a.idx'}", "data.0.separator=", "steps=20"))
    expect_ok(pretrain("text", "steps=20"))
    expect(same_weights(weights(checkpoint(runs / "binidx")), weights(checkpoint(runs / "text"))), "binidx and text differ")
    mixed = folder / "mixed.toml"
    mixed.write_text(RECIPE.replace("[[data]]", '[[data]]\nweight = 3.0') + '\n[[data]]\nfile = "b.jsonl"\ncolumn = "body"\n')
    plan = expect_ok(volery("plan", mixed)).stdout
    expect("75 % of a step" in plan and "25 % of a step" in plan and "2 [[" not in plan and "16 sequences held out" in plan, plan)
    expect_ok(volery("pretrain", mixed, f"runs={runs}", "name=mixed", "steps=4", f"validation.file={folder / 'a.txt'}", "trainer.checkpoint_activations=true",
                     "trainer.dtype=bfloat16", "pretrain.l2wrap=1e-4", "pretrain.documents=apart", "trainer.tokens_per_microbatch=100"))
    # Parquet is the same text; token ids with labels train on what the labels name, and are measured on it.
    rows = [json.loads(line) for line in (folder / "b.jsonl").open()]
    pq.write_table(pa.table({"body": [row["body"] for row in rows]}), folder / "b.parquet")
    for form in ("jsonl", "parquet"):
        expect_ok(pretrain(form, f"data.0.file={folder / f'b.{form}'}", "data.0.column=body", "data.0.separator=", "steps=4"))
    expect(same_weights(weights(checkpoint(runs / "jsonl")), weights(checkpoint(runs / "parquet"))), "Parquet and JSON Lines differ")
    answers = [[x, 10, (x * 7) % 64 + 64, (x * 5) % 64 + 128] for x in range(64)] * 8  # the last token can be known, the third isn't asked for
    pq.write_table(pa.table({"input_ids": answers, "labels": [[-100, -100, -100, row[3]] for row in answers], "none": [[-100] * 4] * len(answers)}), folder / "ids.parquet")
    labelled = [f"data.0.file={folder / 'ids.parquet'}", "data.0.column=input_ids", "data.0.separator=", "pretrain.context=4", "pretrain.sequences=32",
                "pretrain.documents=apart", "validation.sequences=64", "trainer.optim.learning_rate=1e-2", "steps=120"]
    expect_ok(pretrain("labels", "data.0.labels=labels", *labelled))
    rows = metrics(runs / "labels")
    before, after = ([row[key] for row in rows if key in row] for key in ("tokens", "validation/accuracy"))
    expect(set(before) == {32}, "a step predicts one token a document", before)
    expect(after[0] < 0.2 and after[-1] == 1, "accuracy of the labelled tokens", after)

    for order in ("sequential", "magic_prime"):
        expect_ok(pretrain(order, "steps=2", f"pretrain.order={order}"))

    # Two ranks come to the weights of one.
    exact = ["trainer.dtype=float64", "steps=8", "pretrain.documents=apart"]
    expect_ok(pretrain("one", *exact))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [subprocess.Popen([VOLERY, "pretrain", str(recipe), f"runs={runs}", "name=two", *exact], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))) for rank in (0, 1)]
    output = [rank.communicate(timeout=300)[0] for rank in ranks]
    expect(all(rank.returncode == 0 for rank in ranks), [rank.returncode for rank in ranks], *output)
    by_one, by_two = ([row[key] for row in metrics(runs / run) for key in row if key.startswith("validation/")] for run in ("one", "two"))
    expect(len(by_one) > 4 and np.allclose(by_one, by_two, rtol=1e-9, atol=0), "validation of one and two ranks", by_one, by_two)
    one, two = weights(checkpoint(runs / "one")), weights(checkpoint(runs / "two"))
    worst = max(float(np.abs(one[k] - two[k]).max()) for k in one)
    print("two ranks: largest difference of a weight:", worst)
    expect(worst <= 1e-6, worst)

    # The papers' shapes, two steps each with tiny overrides (where the family's plugin is built).
    families = expect_ok(volery("plugins", "list")).stdout
    for file in sorted((SOURCE / "configs/pretrain").glob("*.toml")):
        family = file.read_text().split('family = "')[1].split('"')[0]
        plugin = {"rwkv5": "rwkv", "rwkv6": "rwkv", "goldfinch": "goldfinch"}.get(family, "qwen")
        if plugin not in families:
            print("left out:", file.name, "needs the plugin", plugin)
            continue
        expect("tokens in" in expect_ok(volery("plan", file)).stdout, file)
        expect_ok(volery("pretrain", file, f"runs={runs}", f"name=shape-{file.stem}", "steps=2", "model.layers=3", "model.width=128", "model.heads=2", "model.vocabulary=0",
                         "model.tokenizer=bytes", "model.context=32", "pretrain.context=32", "pretrain.sequences=2", "validation.sequences=0", "validation.every=0"))

    # State tuning and carried states, on an RWKV model that a first run makes.
    if "rwkv" in families:
        rwkv = ["model.family=rwkv6", "model.width=64", "model.heads=1", "model.tied=false"]
        expect_ok(pretrain("rwkv", *rwkv, "steps=12", "pretrain.context=16", "pretrain.carry=4"))
        long = [row for row in metrics(runs / "rwkv") if "validation/loss" in row]
        expect(long[-1]["validation/loss"] < long[0]["validation/loss"] and "validation/loss_at/64" in long[0], long)
        base = folder / "tune.toml"
        base.write_text(RECIPE.replace('family = "llama"\nlayers = 2\nwidth = 64\nheads = 2\n', f'path = "{checkpoint(runs / "rwkv")}"\n').replace('tokenizer = "bytes"\n', ""))
        expect_ok(volery("pretrain", base, f"runs={runs}", "name=tuned", "steps=20", "pretrain.documents=apart", "model.config.time_state=true", 'pretrain.trainable=["*.time_state"]', "trainer.optim.learning_rate=0.05"))
        before, after = weights(checkpoint(runs / "rwkv")), weights(checkpoint(runs / "tuned"))
        new = set(after) - set(before)
        expect(len(new) == 2 and all("time_state" in name and float(np.abs(after[name]).max()) > 0 for name in new), new)
        expect(all(np.array_equal(before[name], after[name]) for name in before), "state tuning moved other tensors")
        tuned = [row["validation/loss"] for row in metrics(runs / "tuned") if "validation/loss" in row]
        expect(tuned[-1] < tuned[0], tuned)

    # What is wrong.
    refused = f"runs={folder / 'refused'}"

    def bad(name, *words, parts, file=recipe, command="pretrain"):
        expect_failure(2, name, volery(command, file, refused, *words), *parts)

    bad("recipe", "pretrain.contxt=3", "trainer.optim.schedule=steep", parts=['did you mean "context"?', '"quarter_cosine"'])
    bad("RL recipe", file=REVERSE, parts=["volery run"])
    bad("run of a pretraining recipe", command="run", parts=["volery pretrain"])
    bad("missing file", f"data.0.file={folder / 'none.txt'}", parts=["none.txt", "doesn't exist"])
    (folder / "empty.txt").write_text("")
    bad("empty file", f"data.0.file={folder / 'empty.txt'}", parts=["empty.txt", "no text"])
    bad("missing column", f"data.0.file={folder / 'b.jsonl'}", "data.0.separator=", parts=["b.jsonl:1", '"text"', '"body"'])
    bad("labels of text", "data.0.labels=n", parts=["labels", "counts as text"])
    bad("labels and carry", f"data.0.file={folder / 'ids.parquet'}", "data.0.separator=", "data.0.column=input_ids", "data.0.labels=labels", "pretrain.carry=2",
        "model.family=rwkv6", parts=["labels", "pretrain.carry"])
    bad("no such labels", f"data.0.file={folder / 'ids.parquet'}", "data.0.separator=", "data.0.column=input_ids", "data.0.labels=targets",
        parts=["ids.parquet:row", '"targets"', '"labels"'])
    bad("labels that ask for nothing", f"data.0.file={folder / 'ids.parquet'}", "data.0.separator=", "data.0.column=input_ids", "data.0.labels=none",
        parts=["ids.parquet", '"none"', "every label", "-100"])
    bad("rate of a frozen tensor", 'pretrain.trainable=["model.norm.*"]', 'pretrain.lr_scale={"model.layers.*"=5.0}', parts=["pretrain.lr_scale", "that trains", "model.norm.weight"])
    bad("no such rate", 'pretrain.lr_scale={"*.time_decay"=5.0}', parts=["pretrain.lr_scale", '"*.time_decay"', "model.embed_tokens.weight"])
    bad("no trainable match", 'pretrain.trainable=["blocks.*"]', parts=['"blocks.*"', "model.embed_tokens.weight"])
    bad("context longer than the data", "pretrain.context=100000", "model.context=100000", parts=["a.txt", "pretrain.context"])
    bad("context longer than the model's", "pretrain.context=65", parts=["65", "model.context"])
    bad("all held out", "validation.sequences=100000", parts=["a.txt", "held out"])
    bad("carry without a state", "pretrain.carry=4", parts=["pretrain.carry", "llama"])
    data = (folder / "a.bin").read_bytes()
    (folder / "cut.bin").write_bytes(data[:-100])
    (folder / "cut.idx").write_bytes((folder / "a.idx").read_bytes())
    bad("binidx that lies", f"data.0.file={folder / 'cut.idx'}", "data.0.separator=", parts=["cut"])
    bad("ids of another tokenizer", f"data.0.file={folder / 'a.idx'}", "data.0.separator=", "model.tokenizer=characters", "model.characters=abc", parts=["a.bin", "another tokenizer"])
    expect(not (folder / "refused").exists(), "a refused run left a run folder")
    expect_failure(2, "convert: no text", volery("convert", "--input", folder / "empty.txt", "--tokenizer", "bytes", "--output", folder / "e.idx"), "empty.txt")
    expect_failure(2, "convert: what to write", volery("convert", "--input", folder / "a.txt", "--tokenizer", "bytes", "--output", folder / "e.txt"), "PREFIX.idx")
    expect(not (folder / "e.idx").exists() and not (folder / "e.bin").exists(), "a refused conversion left files")
