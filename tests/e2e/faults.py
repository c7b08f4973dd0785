"""What goes wrong while a run is under way: each ends with exit code 1 (130 for Ctrl-C), says what to do, and loses nothing that was saved."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np

from common import VOLERY, checkpoint, environment, expect, expect_failure, expect_ok, metrics, volery, weights

FIXTURES = os.environ["VOLERY_FIXTURES"]
RECIPE = """
steps = 6
max_staleness = 1
[model]
family = "llama"
layers = 2
width = 64
heads = 2
context = 32
tokenizer = "characters"
characters = "abcdefghij>"
[tasks]
generator = "reverse"
options = {{ alphabet = "abcdefghij", min_length = 2, max_length = 3 }}
[rollout]
groups_per_step = 4
group_size = 4
max_new_tokens = 5
[[reward]]
{reward}
[algorithm]
max_refill = 0
[trainer]
max_skipped = 3
[eval]
tasks = 16
"""
GIVEN = ["model.family=", "model.layers=0", "model.width=0", "model.heads=0", "model.context=0", "model.tokenizer="]  # with model.path
REVERSE_TEXT = 'plugin = "reverse_text"\noptions = { mode = "lcs" }'


class Runs:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def recipe(self, name, reward=REVERSE_TEXT):
        path = self.folder / f"{name}.toml"
        path.write_text(RECIPE.format(reward=reward))
        return path

    def words(self, name, *more, reward=REVERSE_TEXT):
        return ["run", self.recipe(name, reward), f"runs={self.folder}/runs", f"name={name}", *more]

    def run(self, name, *more, reward=REVERSE_TEXT):
        return volery(*self.words(name, *more, reward=reward), timeout=120)

    def path(self, name):
        return self.folder / "runs" / name


def fixture(plugin, instead, more=""):
    return f'plugin = "{FIXTURES}/{plugin}.so"\noptions = {{ instead = "{instead}" }}\ntimeout_ms = 100\n{more}'


def bad_rewards(runs):
    for name, reward, parts in (
            ("never answers, in a child", fixture("fixture_may_hang", "hang"), ["3 steps in a row changed nothing", "100 ms"]),
            ("never answers, in this process", fixture("fixture_behaviours", "hang"), ["100 ms", "isolate"]),
            ("crashes in a child", fixture("fixture_behaviours", "abort", "isolate = true"), ["fixture_behaviours"]),
            ("throws", fixture("fixture_behaviours", "throw"), ["3 steps in a row changed nothing", "thrown on purpose"]),
            ("gives NaN", fixture("fixture_behaviours", "nan"), ["3 steps in a row changed nothing", "nan"])):
        key = name.replace(" ", "_").replace(",", "")
        expect_failure(1, f"reward {name}", runs.run(key, "eval.tasks=0", reward=reward), *parts)
        expect(all("reward/mean" not in row for row in metrics(runs.path(key))), name, ": a failure counted as a reward")


def reports(runs):
    """A metric that a reward reports itself stands in the metrics of each step."""
    expect_ok(runs.run("reports", "eval.tasks=0", "steps=2", reward=f'plugin = "{FIXTURES}/fixture_behaviours.so"'))
    for row in metrics(runs.path("reports")):
        expect([v for k, v in row.items() if k.endswith("/seen")] == [1.0], "no metric of the reward in", row)
    print("ok: metrics of a reward")


def refused_resume(runs):
    """A resume with another seed is wrong input, and one from a damaged checkpoint changes nothing."""
    recipe = runs.path("reports") / "recipe.toml"
    before = recipe.read_bytes()
    reward = f'plugin = "{FIXTURES}/fixture_behaviours.so"'
    expect_failure(2, "resume with another seed", runs.run("reports", "eval.tasks=0", "steps=3", "seed=9", "--resume", reward=reward), "seed", "another name")
    expect(recipe.read_bytes() == before, "a refused resume changed the run's recipe")
    config = checkpoint(runs.path("reports")) / "config.json"
    config.write_text(config.read_text() + " ")
    expect_failure(1, "resume from a damaged checkpoint", runs.run("reports", "eval.tasks=0", "steps=3", "--resume", reward=reward), "config.json", "nothing was changed")
    expect(config.exists() and (runs.path("reports") / "rollouts" / "step_0.parquet").exists(), "a refused resume removed files")


def not_finite(runs):
    """Advantages beyond float32 make every gradient infinite: the steps are skipped and counted, and the weights stay what they were."""
    huge = REVERSE_TEXT + "\nweight = 1e300"
    expect_failure(1, "gradients that are not finite", runs.run("nan", "algorithm.preset=dr_grpo", "steps=30", reward=huge), "3 steps in a row changed nothing", "not finite", "step_3")
    saved = checkpoint(runs.path("nan"))
    expect(saved.name == "step_3" and all(np.isfinite(v).all() for v in weights(saved).values()), "the weights in", saved)
    expect(all("not finite" in row["note"] for row in metrics(runs.path("nan")) if "reward/mean" in row), "notes in metrics.jsonl")

    # A model whose weights are damaged fails in the sampler's thread, which ends the run.
    damaged = damage(saved, runs.folder / "damaged", "down_proj")
    expect_failure(1, "a model with NaN in its weights", runs.run("damaged", *GIVEN, f"model.path={damaged}", "model.characters="), "sampler thread", "not finite", "damaged")


def damage(saved, folder, part):
    """A copy of the model with NaN in one tensor."""
    from safetensors.numpy import save_file
    shutil.copytree(saved, folder, ignore=shutil.ignore_patterns("trainer", "complete", "loop.json"))
    tensors = weights(saved)
    next(t for n, t in tensors.items() if part in n)[...] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def recurrent(runs):
    """A decay that is NaN spoils a recurrent model's state from its first token on: every command says so. A context beyond what a model has is refused."""
    (runs.folder / "text.txt").write_text("abc" * 200)
    (runs.folder / "tokens.jsonl").write_text('{"tokens": [97, 98, 99, 97]}\n')
    (runs.folder / "one.jsonl").write_text('{"tokens": [97]}\n')
    (runs.folder / "long.jsonl").write_text(f'{{"tokens": {[97] * 33}}}\n')
    text = runs.folder / "text.toml"
    text.write_text("""
        name = "text"
        steps = 1
        [model]
        layers = 2
        width = 64
        context = 32
        tokenizer = "bytes"
        [pretrain]
        context = 8
        sequences = 4
        [[data]]
        file = "text.txt"
        [validation]
        sequences = 4
    """)

    def score(model, tokens):
        return volery("score", "--model", model, "--input", runs.folder / tokens, "--output", runs.folder / "scores.jsonl")

    for family, decay in (("rwkv5", "1.attention.time_decay"), ("rwkv6", "1.attention.time_decay"), ("goldfinch", "0.att.time_decay"), ("goldfinch-llama", "0.att.wk")):
        expect_ok(volery("pretrain", text, f"runs={runs.folder}/runs", f"name={family}", f"model.family={family}"))
        saved = checkpoint(runs.path(family))
        damaged = damage(saved, runs.folder / f"{family}-damaged", decay)
        expect_failure(1, f"generate, {family}", volery("generate", "--model", damaged, "--prompt", "abc", "--max-new-tokens", "4"), "not finite", "damaged")
        # A first token has no state to read; without a state it has no finite logits either.
        for tokens in ("tokens.jsonl",) + (("one.jsonl",) if family == "goldfinch-llama" else ()):
            expect_failure(1, f"score, {family}, {tokens}", score(damaged, tokens), "sequence 0", "not finite", "damaged")
        expect(not (runs.folder / "scores.jsonl").exists(), "scores of a damaged model")
        expect_failure(1, f"pretrain, {family}", volery("pretrain", text, f"runs={runs.folder}/runs", f"name={family}-damaged", *GIVEN, f"model.path={damaged}"),
                       "version 0 is not finite", "damaged")
        expect_failure(2, f"score beyond the context, {family}", score(saved, "long.jsonl"), "33 tokens", "context is 32")
        expect_failure(2, f"prompt beyond the context, {family}", volery("generate", "--model", saved, "--prompt", "a" * 40), "40 tokens", "context of 32")
    expect_failure(2, "a recipe's context beyond the table", volery("pretrain", text, f"runs={runs.folder}/runs", "name=long", *GIVEN, f"model.path={saved}", "pretrain.context=64"),
                   "pretrain.context", "32")


def interrupted(runs, name, stage, *more):
    """Sends SIGINT once `stage` is on standard error; the run ends with 130 and the printed command goes on to the end."""
    process = subprocess.Popen([VOLERY, *map(str, runs.words(name, *more))], env=environment(), stderr=subprocess.PIPE, text=True)
    seen = ""
    for line in process.stderr:
        seen += line
        if stage in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    expect(process.wait(timeout=120) == 130, f"Ctrl-C at {stage!r}: exit", process.returncode, "\n", seen, rest)
    command = [line.split("go on with: ")[1] for line in rest.splitlines() if "go on with: " in line]
    expect(len(command) == 1, f"Ctrl-C at {stage!r}: no command in\n", rest)
    again = subprocess.run(command[0], shell=True, env=environment(), capture_output=True, text=True, timeout=120)
    expect(again.returncode == 0, f"resumed after Ctrl-C at {stage!r}: exit", again.returncode, "\n", again.stderr)
    steps = [row["step"] for row in metrics(runs.path(name)) if "reward/mean" in row]
    expect(steps == list(range(6)), f"steps after Ctrl-C at {stage!r}:", steps)
    print(f"ok: Ctrl-C at {stage!r}")


def interrupted_while_loading(runs):
    """The reward reads a pipe when it is made, so the program stays in its set-up until it has been interrupted."""
    pipe = runs.folder / "pipe"
    os.mkfifo(pipe)
    reward = f'plugin = "{FIXTURES}/fixture_behaviours.so"\noptions = {{ read = "{pipe}" }}'
    process = subprocess.Popen([VOLERY, *map(str, runs.words("loading", reward=reward))], env=environment(), stderr=subprocess.PIPE, text=True)
    with open(pipe, "w"):  # opens once the reward does
        process.send_signal(signal.SIGINT)
        line = ""
        while "Ctrl-C again" not in line and process.poll() is None:
            line = process.stderr.readline()
    rest = process.stderr.read()
    expect(process.wait(timeout=120) == 130, "Ctrl-C while loading: exit", process.returncode, line, rest)
    expect("checkpoint" not in line + rest, "a checkpoint was promised before there was a run:", line, rest)
    expect(not runs.path("loading").exists(), "a run folder was made after Ctrl-C")
    print("ok: Ctrl-C while loading")


def full_disk(runs):
    """A small file system of its own, in a mount namespace: the second checkpoint doesn't fit, the first one stays good, and the run goes on after a clean-up."""
    for mib, name, message in ((44, "seen_before", "MiB left"), (52, "seen_while_writing", "No space left")):
        disk = runs.folder / name
        disk.mkdir()
        expect(subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", disk]).returncode == 0, "mount failed")
        try:
            fill_and_resume(disk, message)
        finally:
            subprocess.run(["umount", "--lazy", disk])


def fill_and_resume(disk, message):
    small = Runs(disk)
    sizes = ["model.layers=4", "model.width=192", "checkpoint.every=2", "checkpoint.keep=2", "eval.tasks=0"]
    expect_failure(1, f"full disk, {disk.name}", small.run("full", *sizes), message, "step_4", "free", "--resume")
    saved = checkpoint(small.path("full"))
    expect(saved.name == "step_2", "the newest checkpoint is", saved)
    expect([p.name for p in saved.parent.iterdir()] == ["step_2"], "left behind:", list(saved.parent.iterdir()))
    expect(subprocess.run(["mount", "-o", "remount,size=200m", disk]).returncode == 0, "remount failed")
    expect_ok(small.run("full", *sizes, "--resume"))
    expect([row["step"] for row in metrics(small.path("full")) if "reward/mean" in row] == list(range(6)), "steps after the resume")


if sys.argv[1:2] == ["full_disk"]:
    with tempfile.TemporaryDirectory() as temporary:
        full_disk(Runs(temporary))
    sys.exit(0)

with tempfile.TemporaryDirectory() as temporary:
    every = Runs(temporary)
    bad_rewards(every)
    reports(every)
    refused_resume(every)
    not_finite(every)
    recurrent(every)
    interrupted_while_loading(every)
    warm = ["warmup.until=0.9", "warmup.max_steps=40", "warmup.every=10"]
    for number, (stage, more) in enumerate((("run folder", warm), ("step 0/6", warm), ("evaluation with version 0", []), ("step 1/6", []), ("step 4/6", []))):
        interrupted(every, f"stop{number}", stage, *more)
    inside = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*inside, "true"], capture_output=True).returncode == 0:
        expect(subprocess.run([*inside, sys.executable, __file__, "full_disk"]).returncode == 0, "full disk")
    else:
        print("not run: full disk (this machine allows no mount namespace)")
