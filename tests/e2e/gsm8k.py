"""configs/gsm8k.toml with a tiny model in the place of the one that the user brings: plan, and a run of two steps."""
import json
import pathlib
import tempfile

from common import REVERSE, SOURCE, checkpoint, expect, expect_ok, metrics, volery

GSM8K = SOURCE / "configs/gsm8k.toml"

with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    expect_ok(volery("run", REVERSE, f"runs={folder}", "name=tiny", "steps=1", "model.layers=1", "model.width=32", "model.heads=2", "model.context=1024", "model.tokenizer=bytes",
                     "model.characters=", "warmup.until=0.0001", "warmup.max_steps=60", "rollout.groups_per_step=2", "rollout.group_size=2", "eval.tasks=64", "algorithm.max_refill=0"))
    rows = [{"question": f"Tom has {n} apples and buys {n} more. How many apples has he?", "answer": f"{n} + {n} = {2 * n}\n#### {2 * n}"} for n in range(2, 14)]
    tasks = folder / "tasks.jsonl"
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [GSM8K, f"model.path={checkpoint(folder / 'tiny')}", "tasks.chat=false", "tasks.system=", f"tasks.file={tasks}", f"runs={folder}", "steps=2", "rollout.max_new_tokens=8",
             "rollout.groups_per_step=2", "rollout.group_size=2", "eval.tasks=4", "algorithm.max_refill=0"]
    plan = expect_ok(volery("plan", *words)).stdout
    expect("gsm8k.toml:" in plan and "8 to train on, 4 held out" in plan, plan)
    expect_ok(volery("run", *words))
    rows = metrics(folder / "gsm8k")
    expect({row["step"] for row in rows if "reward/mean" in row} == {0, 1}, rows)
