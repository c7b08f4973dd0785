"""What a user gets wrong: each case names what, where and what to do, ends with exit code 2 before any run folder is made."""
import json
import pathlib
import struct
import tempfile

from common import REVERSE, SOURCE, checkpoint, expect, expect_failure, expect_ok, volery

GGUF = SOURCE / "models/SmolLM2-135M-Instruct.Q4_1.gguf"


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    runs = f"runs={folder}/runs"

    def write(name, data):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    # A tiny run, for a model folder; run again it is refused with both ways on.
    made = f"runs={folder}/made"
    tiny = [made, "steps=1", "warmup.until=0.0001", "warmup.max_steps=20", "rollout.groups_per_step=2", "rollout.group_size=2", "eval.tasks=8", "algorithm.max_refill=0"]
    expect_ok(volery("run", REVERSE, *tiny))
    expect_failure(2, "existing run", volery("run", REVERSE, *tiny), "--resume", "name=")
    model = checkpoint(folder / "made" / "reverse")

    # Recipes: all problems at once, with line and column and the nearest key.
    bad = write("bad.toml", 'steps = "ten"\n[trainer.optim]\nleraning_rate = 1e-3\n[model]\nfamily = "llama"\nwidth = 100\nheads = 3\n')
    expect_failure(2, "recipe", volery("run", bad, runs), "bad.toml:1:9", "bad.toml:3:1", '[trainer.optim] unknown key "leraning_rate"; did you mean "learning_rate"?')
    expect_failure(2, "no recipe", volery("run", folder / "absent.toml", runs), "absent.toml")
    expect_failure(2, "not TOML", volery("run", write("torn.toml", "steps = [1,\n"), runs), "torn.toml:")
    expect_failure(2, "override", volery("run", REVERSE, runs, "max_stalenes=2"), 'did you mean "max_staleness"?', "command line")
    expect_failure(2, "reward plugin", volery("run", REVERSE, runs, "reward.0.plugin=reverse_txt"), "reverse_txt", "reverse_text")
    expect_failure(2, "reward option", volery("run", REVERSE, runs, "reward.0.options.mod=exact"), "mod", "mode")
    expect_failure(2, "device", volery("run", REVERSE, runs, "device=cuda"), "cuda")

    expect_failure(2, "tasks longer than the context", volery("run", REVERSE, runs, "tasks.options.max_length=30"), 'generator "reverse"', "context")

    # Models.
    absent = dict(zip(("--input", "--output"), (write("in.jsonl", '{"tokens": [1, 2, 3]}\n'), folder / "out.jsonl")))

    def score(model):
        return volery("score", "--model", model, *[w for pair in absent.items() for w in pair])

    expect_failure(2, "missing model", score(folder / "nowhere"), "nowhere", "no such file or folder")
    config, data = (model / "config.json").read_bytes(), (model / "model.safetensors").read_bytes()
    for name in ("truncated", "lying", "odd"):
        write(f"{name}/config.json", config)
        write(f"{name}/tokenizer.json", (model / "tokenizer.json").read_bytes())
    write("truncated/model.safetensors", data[:-100])
    expect_failure(2, "truncated safetensors", score(folder / "truncated"), "truncated/model.safetensors")
    write("lying/model.safetensors", struct.pack("<Q", 1 << 40) + data[8:])
    expect_failure(2, "lying header", score(folder / "lying"), "lying/model.safetensors")
    write("odd/config.json", json.dumps(dict(json.loads(config), hidden_act="gelu")))
    write("odd/model.safetensors", data)
    expect_failure(2, "config that can't be honoured", score(folder / "odd"), "hidden_act", "gelu")
    head = GGUF.read_bytes()[:1 << 20]
    expect_failure(2, "truncated GGUF", score(write("cut.gguf", head)), "cut.gguf")
    expect_failure(2, "GGUF of another kind", score(write("text.gguf", "hello, this is no model")), "text.gguf")

    # A folder without a tokenizer is enough for tokens, not for text.
    write("bare/config.json", config)
    write("bare/model.safetensors", data)
    expect_ok(score(folder / "bare"))
    absent["--input"] = write("text.jsonl", '{"text": "abc"}\n')
    expect_failure(2, "text without a tokenizer", score(folder / "bare"), "text.jsonl:1", "tokenizer.json", "--tokenizer")

    # Tokenizers.
    expect_failure(2, "tokenizer without merges", volery("tokenize", "--tokenizer", write("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": 0}}}'), stdin='{"text": "a"}\n'),
            "tokenizer.json", "merges")
    expect_failure(2, "no JSON on standard input", volery("tokenize", "--tokenizer", GGUF, stdin='{"text": "a"}\nnonsense\n'), "standard input:2")

    # Datasets.
    recipe = write("file.toml", """
        [model]
        family = "llama"
        layers = 1
        width = 32
        heads = 2
        context = 64
        tokenizer = "bytes"
        [tasks]
        file = "tasks.jsonl"
        [[reward]]
        plugin = "reverse_text"
        [eval]
        tasks = 0
    """)
    write("tasks.jsonl", '{"prompt": "abc>", "answer": "cba"}\n{"prompt": \n')
    expect_failure(2, "dataset line", volery("run", recipe, runs), "tasks.jsonl:2")
    write("tasks.jsonl", "")
    expect_failure(2, "empty dataset", volery("run", recipe, runs), "tasks.jsonl")
    write("tasks.jsonl", '{"question": "abc>"}\n')
    expect_failure(2, "missing column", volery("run", recipe, runs), "tasks.jsonl:1", "prompt", "question")
    write("tasks.jsonl", json.dumps({"prompt": "abcde" * 20 + ">", "answer": "x"}) + "\n")
    expect_failure(2, "prompt longer than the context", volery("run", recipe, runs, "rollout.max_new_tokens=8"), "tasks.jsonl:1")

    expect(not (folder / "runs").exists(), "a refused run left a run folder")
