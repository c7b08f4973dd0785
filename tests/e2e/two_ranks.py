"""Two ranks over Gloo, started by torchrun's variables, give the one-rank weights within 1e-6 after 20 float64 steps."""
import pathlib
import socket
import subprocess
import tempfile

import numpy as np

from common import REVERSE, VOLERY, checkpoint, environment, expect, expect_ok, metrics, volery, weights

WORDS = ["max_staleness=0", "steps=20", "trainer.dtype=float64", "trainer.optim.learning_rate=3e-4", "warmup.max_steps=60", "warmup.until=0.02", "warmup.every=20",
         "rollout.groups_per_step=4", "rollout.group_size=4", "eval.tasks=16", "eval.every=0", "checkpoint.every=0", "threads.trainer=1", "threads.sampler=1"]

with tempfile.TemporaryDirectory() as runs:
    folder = pathlib.Path(runs)
    expect_ok(volery("run", REVERSE, f"runs={runs}", "name=one", *WORDS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [subprocess.Popen([VOLERY, "run", REVERSE, f"runs={runs}", "name=two", *WORDS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)))
             for rank in (0, 1)]
    output = [rank.communicate(timeout=600)[0] for rank in ranks]
    expect(all(rank.returncode == 0 for rank in ranks), [rank.returncode for rank in ranks], *output)
    trained = [row for row in metrics(folder / "two") if row.get("grad_norm", 0) > 0]
    expect(len(trained) >= 10, "only", len(trained), "of 20 steps had an update: this compares nothing")
    one, two = weights(checkpoint(folder / "one")), weights(checkpoint(folder / "two"))
    worst = max(np.abs(one[k].astype(np.float64) - two[k].astype(np.float64)).max() for k in one)
    print("largest difference of a weight:", worst)
    expect(worst <= 1e-6, worst)
