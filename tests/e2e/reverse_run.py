"""configs/reverse.toml, cut to less than half its steps (with --whole, by hand, all of them: over a minute): it learns, and leaves what it
promises: metrics, TensorBoard events, Parquet rollouts, a model folder that volery and transformers load, whose tokenizer gives the same ids."""
import json
import pathlib
import re
import shlex
import sys
import tempfile

from common import REVERSE, checkpoint, expect, expect_ok, metrics, volery

WHOLE = "--whole" in sys.argv
STEPS, LEAST_END = (200, 0.9) if WHOLE else (80, 0.6)
MISMATCH_MAX, MISMATCH_MEAN, MISMATCH_K3 = 1e-4, 1e-5, 1e-8
TIMES = ("time/", "sampler/", "trainer/", "memory/")


def check_learning(rows):
    evals = [row["eval/held_out/avg@1"] for row in rows if "eval/held_out/avg@1" in row]
    print("held-out exact match:", evals)
    expect(0.1 <= evals[0] <= 0.4, "start", evals[0])
    expect(evals[-1] >= evals[0] + 0.2 and evals[-1] >= LEAST_END, "end", evals[-1])


def check_mismatch(rows):
    worst = {name: max(row[f"mismatch/{name}"] for row in rows if f"mismatch/{name}" in row) for name in ("max", "mean", "k3")}
    print("sampler against trainer:", worst)
    expect(worst["max"] <= MISMATCH_MAX and worst["mean"] <= MISMATCH_MEAN and abs(worst["k3"]) <= MISMATCH_K3, worst)


def check_events(run, rows):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run / "events"))
    events.Reload()
    rewards = {e.step: e.value for e in events.Scalars("reward/mean")}
    expected = {row["step"]: row["reward/mean"] for row in rows if "reward/mean" in row}
    expect(rewards.keys() == expected.keys() and all(abs(rewards[s] - expected[s]) < 1e-6 for s in expected), "reward/mean differs in the event files")


def check_rollouts(run, groups, size):
    import pyarrow.parquet as parquet
    table = parquet.read_table(run / "rollouts" / "step_0.parquet")
    names = ("input_tokens output_tokens input_logprobs output_logprobs prompt problem_id completion advantages rewards task_rewards length_penalties "
             "proofs step target_lengths task_type seed temperature group_id sample versions stop_reason").split()
    expect(table.column_names == names, "columns", table.column_names)
    expect(table.num_rows >= groups * size, table.num_rows, "rows")
    for row in table.slice(0, 50).to_pylist():
        expect(len(row["output_tokens"]) == len(row["output_logprobs"]) == len(row["versions"]), "lengths of", row)
        expect(all(p <= 0 for p in row["output_logprobs"]), "log-probs above 0")


def check_model(folder):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "abcdef>fedcba"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with tempfile.TemporaryDirectory() as scratch:
        line = expect_ok(volery("tokenize", "--tokenizer", folder, stdin=json.dumps({"text": text}) + "\n")).stdout
        expect(json.loads(line)["ids"] == ids, "ids differ:", line, ids)
        source, out, logits = (pathlib.Path(scratch) / n for n in ("in.jsonl", "out.jsonl", "logits.safetensors"))
        source.write_text(json.dumps({"tokens": ids}) + "\n")
        expect_ok(volery("score", "--model", folder, "--input", source, "--output", out, "--logits", logits))
        ours = load_file(str(logits))["logits.0"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0]
    difference = (ours - theirs).abs().max().item()
    print("logits of the saved model against transformers:", difference)
    expect(difference <= 1e-4, "logits differ by", difference)
    said = expect_ok(volery("generate", "--model", folder, "--prompt", "abcdef>", "--temperature", "0", "--max-new-tokens", "10", "--json")).stdout
    expect(json.loads(said)["stop_reason"] == "stop", said)


def main():
    with tempfile.TemporaryDirectory() as runs:
        run = pathlib.Path(runs) / "reverse"
        printed = expect_ok(volery("run", REVERSE, f"runs={runs}", "max_staleness=0", f"steps={STEPS}", "eval.every=0", timeout=900)).stderr
        # The command that is said to try the model works as it stands, and the model card says the same.
        tried = shlex.split(re.search(r"try: (.*)\)", printed)[1].replace("...", "abcdef>"))[1:]
        expect_ok(volery(*tried))
        expect("generate --model . --prompt" in (checkpoint(run) / "README.md").read_text() and "--chat" not in tried, tried)
        rows = metrics(run)
        check_learning(rows)
        check_mismatch(rows)
        check_events(run, rows)
        check_rollouts(run, 32, 16)
        check_model(str(checkpoint(run)))
        shown = expect_ok(volery("inspect", run, "--step", "3", "--group", "0")).stdout
        expect("reward" in shown and ">" in shown, shown[:500])


main()
