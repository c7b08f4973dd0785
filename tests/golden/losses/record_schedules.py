"""Records learning rates, weight decays and the L2Wrap gradient with the training code that defines them.

    .deps/venv/bin/python tests/golden/losses/record_schedules.py RWKV-LM GoldFinch-paper

RWKV-LM: a checkout of github.com/BlinkDL/RWKV-LM, GoldFinch-paper one of github.com/recursal/GoldFinch-paper. Recorded
at commits 524481d5 and 4fbc70c6 with torch 2.13.0. Writes schedules.json and l2wrap.json. Of each file only the functions
named below run, with plain objects in the place of the trainer.
"""

import ast
import json
import math
import pathlib
import sys
from types import SimpleNamespace

import torch

HERE = pathlib.Path(__file__).resolve().parent
STEPS, SEQUENCES, CONTEXT = 40, 4, 16


def pieces(path, names):
    """The functions and classes of these names, wherever they stand in a file."""
    out = {"math": math, "torch": torch, "rank_zero_info": print}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            for inner in ast.walk(node):
                if isinstance(inner, ast.arg):
                    inner.annotation = None
            exec(compile(ast.Module([node], []), str(path), "exec"), out)
    return SimpleNamespace(**{name: out[name] for name in names})


def fake_trainer(step, decay):
    groups = [{"weight_decay": decay, "my_lr_scale": 1.0, "lr": 0.0}]
    return SimpleNamespace(global_step=step, is_global_zero=False, optimizers=[SimpleNamespace(param_groups=groups)])


def rwkv(root, run):
    code = pieces(root / "RWKV-v5/src/trainer.py", ["on_train_batch_start"])
    args = SimpleNamespace(
        epoch_begin=0, epoch_steps=STEPS, epoch_count=1, my_pile_edecay=0, warmup_steps=run["warmup"], lr_init=run["rate"], lr_final=run["final"],
        my_exit_tokens=STEPS * SEQUENCES * CONTEXT, ctx_len=CONTEXT, real_bsz=SEQUENCES, weight_decay=run["decay"], weight_decay_final=run["final_decay"],
        layerwise_lr=1, strategy="auto")
    if run["schedule"] == "constant":
        args.my_exit_tokens, args.lr_final = 0, args.lr_init
    for step in range(STEPS + 3):
        trainer = fake_trainer(step, run["decay"])
        code.on_train_batch_start(SimpleNamespace(args=args), trainer, None, None, 1)
        yield trainer.my_lr, trainer.my_wd


def goldfinch(root, run):
    code = pieces(root / "src/trainer.py", ["on_train_batch_start"])
    progress = pieces(root / "src/lit.py", ["get_real_global_step", "get_real_tokens", "get_lr_progress"])
    train = SimpleNamespace(
        epoch_begin=0, lr_wait=run["wait"], my_exit_tokens=STEPS * SEQUENCES * CONTEXT, warmup_steps=run["warmup"], lr_init=run["rate"], lr_final=run["final"],
        lr_decay_type=run["schedule"], weight_decay=run["decay"], weight_decay_final=run["final_decay"], layerwise_lr=1, strategy="auto")
    runtime = SimpleNamespace(epoch_count=1, epoch_global_steps=STEPS, global_step_bsz=SEQUENCES)
    config = SimpleNamespace(train=train, runtime=runtime, model=SimpleNamespace(ctx_len=CONTEXT))
    for step in range(STEPS + 3):
        trainer = fake_trainer(step, run["decay"])
        module = SimpleNamespace(config=config, trainer=trainer)
        for name in ("get_real_global_step", "get_real_tokens", "get_lr_progress"):
            setattr(module, name, getattr(progress, name).__get__(module))
        code.on_train_batch_start(SimpleNamespace(config=config), trainer, module, None, 1)
        yield trainer.my_lr, trainer.my_wd


def run(schedule, warmup, wait=0.0, final_decay=-1.0):
    return dict(schedule=schedule, warmup=warmup, wait=wait, rate=6e-4, final=2e-4, decay=0.1, final_decay=final_decay, steps=STEPS)


def record_schedules(rwkv_root, goldfinch_root):
    runs = []
    for code, function, root, cases in [
            ("RWKV-LM", rwkv, rwkv_root, [run("cosine", 10), run("cosine", 0), run("constant", 10), run("cosine", 5, final_decay=0.001)]),
            ("GoldFinch-paper", goldfinch, goldfinch_root,
             [run(kind, warmup, wait) for kind in ("linear", "exp", "cos", "oneminussqrt") for warmup, wait in ((10, 0.0), (0, 0.0), (4, 0.25))]
             + [run("cos", 10, final_decay=0.001)])]:
        for case in cases:
            values = list(function(root, case))
            runs.append(dict(case, code=code, lr=[v[0] for v in values], weight_decay=[v[1] for v in values]))
    (HERE / "schedules.json").write_text(json.dumps({"runs": runs}) + "\n")


def record_l2wrap(goldfinch_root):
    wrap = pieces(goldfinch_root / "src/lit.py", ["L2Wrap"]).L2Wrap
    torch.manual_seed(5)
    rows, width, vocabulary = 7, 6, 11
    hidden = torch.randn(rows, width, dtype=torch.float64, requires_grad=True)
    head = (3 * torch.randn(vocabulary, width, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(vocabulary, (rows,))
    logits = hidden @ head.t()
    loss = torch.nn.functional.cross_entropy(logits, targets)
    wrap.apply(loss, logits.view(1, rows, vocabulary)).backward()
    plain = torch.autograd.grad(torch.nn.functional.cross_entropy(hidden @ head.t(), targets), [hidden])[0]
    (HERE / "l2wrap.json").write_text(json.dumps({
        "factor": 1e-4, "hidden": hidden.tolist(), "head": head.tolist(), "targets": targets.tolist(), "hidden_gradient": hidden.grad.tolist(),
        "head_gradient": head.grad.tolist(), "hidden_gradient_without": plain.tolist()}) + "\n")


record_schedules(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
record_l2wrap(pathlib.Path(sys.argv[2]))
