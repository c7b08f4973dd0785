"""At staleness 0 in float32 a run is bit-identical from run to run, and across Ctrl-C and --resume."""
import pathlib
import signal
import subprocess
import tempfile

import numpy as np

from common import REVERSE, VOLERY, checkpoint, environment, expect, expect_ok, metrics, volery, weights

SMALL = ["max_staleness=0", "steps=8", "warmup.max_steps=40", "warmup.until=0.02", "warmup.every=10", "rollout.groups_per_step=8", "rollout.group_size=8", "eval.tasks=32",
         "eval.every=0", "checkpoint.every=2"]
UNSTEADY = ("time/", "sampler/", "trainer/", "memory/", "tokens_per_s")


def steady(rows):
    return [{k: v for k, v in row.items() if not k.startswith(UNSTEADY)} for row in rows]


def same(first, second, what):
    a, b = weights(checkpoint(first)), weights(checkpoint(second))
    expect(a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a), what, ": weights differ")
    expect(steady(metrics(first)) == steady(metrics(second)), what, ": metrics differ")


def interrupted(runs):
    """Starts a run, sends SIGINT once two steps are written, and resumes it."""
    words = [VOLERY, "run", REVERSE, f"runs={runs}", "name=resumed", *SMALL]
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "2/8" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    expect(process.wait(timeout=300) == 130, "exit", process.returncode, "".join(lines), rest)
    expect("--resume" in rest, "no resume command in", rest)
    done = len(metrics(pathlib.Path(runs) / "resumed"))
    expect(done < 8, "the run was not stopped early:", done, "lines")
    expect_ok(volery("run", REVERSE, f"runs={runs}", "name=resumed", *SMALL, "--resume"))


with tempfile.TemporaryDirectory() as runs:
    folder = pathlib.Path(runs)
    for name in ("first", "second"):
        expect_ok(volery("run", REVERSE, f"runs={runs}", f"name={name}", *SMALL))
    same(folder / "first", folder / "second", "two runs")
    interrupted(runs)
    same(folder / "first", folder / "resumed", "resumed run")
    # A run that has ended goes on from its last step.
    ended = checkpoint(folder / "resumed").name.removeprefix("step_")
    longer = expect_ok(volery("run", REVERSE, f"runs={folder}", "name=resumed", *SMALL, f"steps={int(ended) + 1}", "--resume")).stderr
    expect(f"resuming after step {ended}" in longer and "damaged" not in longer, longer)
