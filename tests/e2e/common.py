"""What the end-to-end tests share: starting volery, reading what a run leaves, plain checks with a message."""
import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
VOLERY = os.environ.get("VOLERY_BINARY", str(SOURCE / "build/release/bin/volery"))
REVERSE = str(SOURCE / "configs/reverse.toml")


def environment(**extra):
    env = dict(os.environ, OMP_WAIT_POLICY="passive")
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "VOLERY_PLUGIN_PATH"):
        env.pop(name, None)
    env.update(extra)
    return env


def volery(*words, cwd=None, timeout=600, stdin=None, **extra):
    """Runs volery to its end; returns the CompletedProcess with text output."""
    return subprocess.run([VOLERY, *map(str, words)], cwd=cwd, timeout=timeout, input=stdin, capture_output=True, text=True,
                          env=environment(**extra))


def expect(condition, *message):
    if not condition:
        print("FAILED:", *message, file=sys.stderr)
        sys.exit(1)


def expect_ok(process):
    expect(process.returncode == 0, "exit", process.returncode, "of", process.args, "\n", process.stdout[-2000:], process.stderr[-4000:])
    return process


def expect_failure(code, name, process, *parts):
    """The process ended with `code` and said each of `parts`."""
    text = process.stdout + process.stderr
    expect(process.returncode == code, name, ": exit", process.returncode, "instead of", code, "\n", text)
    for part in parts:
        expect(part in text, name, ": no", repr(part), "in\n", text)
    print("ok:", name)


def metrics(run):
    return [json.loads(line) for line in open(pathlib.Path(run) / "metrics.jsonl")]


def checkpoint(run):
    """The newest checkpoint folder of a run."""
    folders = [p for p in (pathlib.Path(run) / "checkpoints").iterdir() if (p / "complete").exists()]
    return max(folders, key=lambda p: int(p.name.split("_")[1]))


def weights(folder):
    from safetensors.numpy import load_file
    return load_file(str(pathlib.Path(folder) / "model.safetensors"))
