"""The commands by which volery is compared with other programs: formats of score, generate, tokenize, reward, plan, plugins."""
import json
import pathlib
import re
import tempfile

from common import REVERSE, SOURCE, expect, expect_ok, metrics, volery

GGUF = SOURCE / "models/SmolLM2-135M-Instruct.Q4_1.gguf"

with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)

    # tokenize: there and back; digits are split before the spaces are grouped, as the model was trained.
    texts = ["Hello world", "a  17", "x  12", "naïve café ☕", "<|im_start|>user\n"]
    lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
    ids = expect_ok(volery("tokenize", "--tokenizer", GGUF, stdin=lines)).stdout
    back = expect_ok(volery("tokenize", "--tokenizer", GGUF, "--decode", stdin=ids)).stdout
    expect([json.loads(line)["text"] for line in back.splitlines()] == texts, back)

    # generate: greedy ids do not depend on what shares the batch; the stop token is in the ids, not in the text.
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "What is the capital of France?"}]}\n{"prompt": "The sky is"}\n{"tokens": [504, 5748]}\n')
    common = ["--model", GGUF, "--input", prompts, "--max-new-tokens", 12, "--json"]
    greedy = [json.loads(line) for line in expect_ok(volery("generate", *common, "--temperature", 0)).stdout.splitlines()]
    expect([g["index"] for g in greedy] == [0, 1, 2], greedy)
    for line in greedy:
        expect(set(line) == {"index", "text", "ids", "logprobs", "stop_reason"}, line)
        expect(len(line["ids"]) == len(line["logprobs"]) and len(line["ids"]) <= 12, line)
        expect(line["stop_reason"] in ("stop", "length"), line)
        expect((line["ids"][-1] == 2) == (line["stop_reason"] == "stop"), line)
    sampled = [expect_ok(volery("generate", *common, "--temperature", 1, "--top-p", 0.9, "--seed", seed)).stdout for seed in (5, 5, 6)]
    expect(sampled[0] == sampled[1], "the same seed gave different samples")
    expect(sampled[0] != sampled[2], "another seed gave the same samples")

    # score: the log-probs of what was generated greedily are those that generate reported (T = 1).
    prompt_ids = json.loads(expect_ok(volery("tokenize", "--tokenizer", GGUF, stdin='{"text": "The sky is"}\n')).stdout)["ids"]
    tokens = prompt_ids + greedy[1]["ids"]
    (folder / "score.jsonl").write_text(json.dumps({"tokens": tokens}) + "\n")
    expect_ok(volery("score", "--model", GGUF, "--input", folder / "score.jsonl", "--output", folder / "scored.jsonl"))
    scored = json.loads((folder / "scored.jsonl").read_text())
    expect(scored["tokens"] == tokens and len(scored["logprobs"]) == len(tokens) - 1, scored)
    worst = max(abs(a - b) for a, b in zip(scored["logprobs"][len(prompt_ids) - 1:], greedy[1]["logprobs"]))
    print("sampling path against training path:", worst)
    expect(worst <= 1e-4, worst)

    # reward
    (folder / "completions.jsonl").write_text('{"completion": "one two three", "words": 3}\n{"completion": "one two", "words": 3}\n{"completion": "no column"}\n')
    expect_ok(volery("reward", "--plugin", "format", "--input", folder / "completions.jsonl", "--output", folder / "rewards.jsonl", "--option", "words_column=words"))
    rewards = [json.loads(line) for line in (folder / "rewards.jsonl").read_text().splitlines()]
    expect([r["score"] for r in rewards[:2]] == [1.0, 0.0] and [r["status"] for r in rewards[:2]] == ["ok", "ok"], rewards)
    expect(rewards[2]["status"] == "error" and rewards[2]["score"] is None, "a failed reward must not be a score:", rewards[2])
    expect(all({"score", "components", "status", "ms"} <= set(r) for r in rewards), rewards)

    # plan and plugins
    plan = expect_ok(volery("plan", REVERSE, "steps=7")).stdout
    expect("command line" in plan and "reverse.toml:" in plan and "default" in plan and "total" in plan, plan)
    # What a sequence holds, by plan: a compressed cache of 80 layers of width 8192 is 2550 times smaller than keys and values.
    def state_of(family, *words):
        sizes = ("model.layers=80", "model.width=8192", "model.heads=128", "model.dtype=bfloat16")
        plan = expect_ok(volery("plan", REVERSE, f"model.family={family}", *sizes, *words)).stdout
        return tuple(map(int, re.search(r"decode state of a sequence: (\d+) bytes and (\d+) a token", plan).groups()))
    expect((state_of("goldfinch-llama")[1], state_of("goldfinch", "rollout.cache=compressed")[1]) == (2621440, 1028), "bytes a token")
    # What the compressed cache remembers is a part of the budget; the slots have the rest, and come first.
    for share, remembered, rest in ((0.25, "16 MiB more", "48 MiB hold"), (0, None, "64 MiB hold")):
        plan = expect_ok(volery("plan", REVERSE, "model.family=goldfinch", "rollout.cache=compressed", "rollout.kv_memory_mb=64", f"rollout.memo_share={share}")).stdout
        expect(rest in plan and ("remembered" in plan) == (remembered is not None) and (remembered or "") in plan, plan)
    holds = lambda megabytes: re.search(r"a token \((.*?)\)", expect_ok(volery("plan", REVERSE, "model.family=goldfinch", f"rollout.kv_memory_mb={megabytes}")).stdout)[1]
    expect("compressed keys of 8 values" in holds(8) and "keys and values of" in holds(64), holds(8), holds(64))
    # One budget holds few sequences with keys and values, and many with a state of one size.
    most = {}
    for family in ("llama", "rwkv6"):
        expect_ok(volery("run", REVERSE, f"runs={folder}", f"name={family}", f"model.family={family}", "steps=1", "warmup.until=0.0001", "warmup.max_steps=4", "model.context=512",
                         "rollout.max_new_tokens=256", "rollout.kv_memory_mb=4", "rollout.groups_per_step=2", "rollout.group_size=8", "algorithm.max_refill=0", "eval.tasks=4"))
        most[family] = max(row.get("sampler/sequences", 0) for row in metrics(folder / family))
    expect(1 <= most["llama"] <= 4 and most["rwkv6"] >= 8, "sequences at once:", most)
    listed = expect_ok(volery("plugins", "list")).stdout
    expect(all(name in listed for name in ("qwen", "reverse_text", "format", "numeric_answer")), listed)
    expect("volery" in expect_ok(volery("version")).stdout)
