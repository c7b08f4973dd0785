#!/usr/bin/env python3
"""Records what the rwkv package computes for tiny random RWKV-5.2 and RWKV-6 models, WKV operator vectors, and how the
original training code initialises.

Pinned: rwkv 0.8.32, torch 2.13.0 (CPU), numpy 2.4.6, safetensors 0.8.0; BlinkDL/RWKV-LM 524481d for `init`.
One thread, strategy 'cpu fp32', RWKV_JIT_ON=0, RWKV_CUDA_ON=0.

  record_rwkv.py [CASE ...]          the cases of CASES (<case>/ and <case>.pth) and wkv_op; without names, all of them
  record_rwkv.py init RWKV_V5        init.json; RWKV_V5 is that folder of a checkout (imported, nothing is trained)

README.md beside this says what the files hold.
"""
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import sys
import tempfile
import types

os.environ.update(OMP_NUM_THREADS="1", RWKV_JIT_ON="0", RWKV_CUDA_ON="0")
os.environ.pop("RWKV_V7_ON", None)
os.environ.pop("RWKV_RESCALE_LAYER", None)
import torch
from safetensors.torch import load_file, save_file

import record_rwkv_math as maths

HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = {"rwkv": "0.8.32", "torch": "2.13.0", "numpy": "2.4.6", "safetensors": "0.8.0"}
REFERENCE = "BlinkDL/RWKV-LM 524481d"
REFERENCE_SHA256 = "6f5c6627a1a119bb83b929db7706b0a569321af2a484277f53aaf879fbc73340"  # of src/model.py
TOKENS, STATE_AT, SPLIT, PTH_TOKENS = 40, (1, 2, 17, 64), 17, 17
CLOSE = 1e-4  # float64 model against the package in float32, logits and states
# name: sizes and seed; pth: also as a file of the original code
CASES = {
    "rwkv5-d64": dict(version=5, layers=2, width=64, head=32, vocabulary=168, seed=501, pth=True),
    "rwkv6-d64": dict(version=6, layers=3, width=64, head=32, vocabulary=168, mix_rank=8, decay_rank=16, seed=601,
                      pth=True, initial=True),
    "rwkv6-d128": dict(version=6, layers=2, width=128, head=64, vocabulary=96, mix_rank=16, decay_rank=24, seed=602),
}


def inner_width(width):
    return int(width * 3.5) // 32 * 32


# ---- models ----

def make_weights(c, generator):
    """Random parameters, none of them zero, named as in the original .pth files."""
    def n(*shape):
        return torch.randn(shape, generator=generator)

    def uniform(*shape):
        return torch.rand(shape, generator=generator)

    width, heads = c["width"], c["width"] // c["head"]
    w = {}

    def norm(name):
        w[name + ".weight"], w[name + ".bias"] = 1 + 0.1 * n(width), 0.1 * n(width)

    def matrix(name, rows, columns):
        w[name] = n(rows, columns) / math.sqrt(columns)

    w["emb.weight"] = n(c["vocabulary"], width)
    for i in range(c["layers"]):
        b, att, ffn = f"blocks.{i}.", f"blocks.{i}.att.", f"blocks.{i}.ffn."
        for name in (["ln0"] if i == 0 else []) + ["ln1", "ln2"]:
            norm(b + name)
        # Shuffled, so that every head has channels that forget at once and channels that hardly forget.
        omega = torch.linspace(-6, 1, width)[torch.randperm(width, generator=generator)] + 0.05 * n(width)
        if c["version"] == 5:
            for mix in "kvrg":
                w[f"{att}time_mix_{mix}"] = uniform(1, 1, width)
            w[att + "time_decay"] = omega.view(heads, -1)
        else:
            for mix in "xwkvrg":
                w[f"{att}time_maa_{mix}"] = uniform(1, 1, width)
            rank, decay_rank = c["mix_rank"], c["decay_rank"]
            w[att + "time_maa_w1"] = n(width, 5 * rank) / math.sqrt(width)
            w[att + "time_maa_w2"] = 0.5 * n(5, rank, width) / math.sqrt(rank)
            w[att + "time_decay"] = omega.view(1, 1, -1)
            w[att + "time_decay_w1"] = n(width, decay_rank) / math.sqrt(width)
            w[att + "time_decay_w2"] = n(decay_rank, width) / math.sqrt(decay_rank)
        w[att + "time_faaaa"] = 0.7 * n(heads, c["head"])
        for name in ("receptance", "key", "value", "gate", "output"):
            matrix(f"{att}{name}.weight", width, width)
        norm(att + "ln_x")
        for mix in "kr":
            w[f"{ffn}time_{'mix' if c['version'] == 5 else 'maa'}_{mix}"] = uniform(1, 1, width)
        matrix(ffn + "key.weight", inner_width(width), width)
        matrix(ffn + "receptance.weight", width, width)
        matrix(ffn + "value.weight", width, inner_width(width))
    norm("ln_out")
    matrix("head.weight", c["vocabulary"], width)
    for name, t in w.items():
        assert t.count_nonzero() == t.numel(), name
    return w


def hub_name(name):
    if name == "head.weight":
        return name
    for old, new in (("emb.", "embeddings."), (".ln0.", ".pre_ln."), (".att.", ".attention."),
                     (".ffn.", ".feed_forward.")):
        name = name.replace(old, new)
    long = dict(k="key", v="value", r="receptance", g="gate")
    return "rwkv." + re.sub(r"time_mix_(.)$", lambda m: "time_mix_" + long[m[1]], name)


def make_config(c):
    kind = f"Rwkv{c['version']}"
    config = {
        "architectures": [kind + "ForCausalLM"],
        "auto_map": {"AutoConfig": f"configuration_{kind.lower()}.{kind}Config",
                     "AutoModelForCausalLM": f"modeling_{kind.lower()}.{kind}ForCausalLM"},
        "attention_hidden_size": c["width"], "bos_token_id": 0, "eos_token_id": 0, "head_size": c["head"],
        "hidden_size": c["width"], "intermediate_size": None, "layer_norm_epsilon": 1e-5, "model_type": kind.lower(),
        "num_attention_heads": 64,  # published files have 64 for any number of heads
        "num_hidden_layers": c["layers"], "rescale_every": 6, "tie_word_embeddings": False,
        "transformers_version": "4.33.1", "use_cache": True, "vocab_size": c["vocabulary"]}
    if c["version"] == 5:
        config["context_length"] = 4096
    else:
        config.update(head_size_divisor=8, max_context_length=4096)
    return config


class Package:
    """The rwkv package with these weights."""

    def __init__(self, weights):
        from rwkv.model import RWKV
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.pth")
            torch.save(weights, path)
            self.model = RWKV(model=path, strategy="cpu fp32", verbose=False)

    def run(self, tokens, state=None, full=True):
        """Logits [T, V] (or [V] of the last token) and the flat state: per layer shift, [H, N key, N value], shift."""
        state = None if state is None else [t.clone() for t in state]  # the package writes into it
        logits, state = self.model.forward([int(t) for t in tokens], state, full_output=full)
        return logits.reshape(len(tokens), -1) if full else logits, [t.clone() for t in state]


def save(tensors, path):
    save_file({key: t.contiguous() for key, t in tensors.items()}, path)
    os.chmod(path, 0o644)


def difference(a, b):
    return (a.double() - b.double()).abs().max().item()


def check(what, a, b, bound=CLOSE):
    error = difference(a, b)
    print(f"  {what}: max difference {error:.2g}")
    assert a.shape == b.shape and error <= bound, what


def check_all_matter(model, tokens):
    """Without any one tensor the logits are clearly others, so a reader that drops or swaps one can't pass."""
    with torch.no_grad():
        logits, least = model.forward(tokens)[0], {}
        for key, p in model.p.items():
            kept = p.clone()
            p.zero_()
            least[key] = difference(model.forward(tokens)[0], logits)
            p.copy_(kept)
    key = min(least, key=least.get)
    print(f"  least important: {key}, zeroed it changes the logits by {least[key]:.2g}")
    assert least[key] > 0.05


def check_gradients(name, leaves, loss, count=3):
    """Central differences of loss() on a few entries of every tensor of leaves (their .grad is what is checked)."""
    generator, step, worst = torch.Generator().manual_seed(9), 1e-5, 0.0
    with torch.no_grad():
        for key, p in leaves.items():
            flat, g = p.data.view(-1), p.grad.reshape(-1)
            top = g.abs().max()
            assert top > 0, (name, key)
            used = g.nonzero().flatten()  # rows of unused tokens have none
            picked = used[torch.randint(len(used), (count - 1,), generator=generator)].tolist()
            for i in [int(g.abs().argmax())] + picked:
                kept = float(flat[i])
                flat[i] = kept + step
                above = loss()
                flat[i] = kept - step
                below = loss()
                flat[i] = kept
                error = abs(float(above - below) / (2 * step) - float(g[i]))
                worst = max(worst, error / float(top))
                assert error <= 1e-5 * float(top) + 1e-9, (name, key, i, error, float(g[i]))
    print(f"  {name}: {len(leaves)} tensors, finite differences within {worst:.2g} of each tensor's largest gradient")


def split_check(package, model, tokens, whole):
    first, state = package.run(tokens[:SPLIT])
    second, _ = package.run(tokens[SPLIT:], state)
    check(f"package, {SPLIT} + {TOKENS - SPLIT} tokens", torch.cat([first, second]), whole, 1e-5)
    with torch.no_grad():
        first, state = model.forward(tokens[None, :SPLIT])
        second, _ = model.forward(tokens[None, SPLIT:], state)
        check("float64, the same", torch.cat([first, second], 1), model.forward(tokens[None])[0], 1e-11)


def record_states(package, model, tokens, out):
    out["state_tokens"] = tokens
    for n in STATE_AT:
        logits, state = package.run(tokens[:n], full=False)
        with torch.no_grad():
            ours, our_state = model.forward(tokens[None, :n])
        check(f"logits after {n}", logits, ours[0, -1])
        check(f"state after {n}", torch.cat([t.flatten() for t in state]),
              torch.cat([t.flatten() for layer in our_state for t in layer]))
        out[f"state_logits.{n}"] = logits
        for i in range(model.layers):
            for part, name in enumerate(("att_shift", "wkv", "ffn_shift")):
                out[f"states.{n}.{i}.{name}"] = state[3 * i + part]


def record_initial(package, weights, model, tokens, generator, out):
    """Row 0 from random states: logits and the gradient of its loss with respect to them."""
    shape = model.zero_state(1)[0][1].shape
    leaves = {f"initial.{i}.wkv": torch.randn(shape, generator=generator).double().requires_grad_()
              for i in range(model.layers)}

    def state():
        return [(a, s, f) for (a, _, f), s in zip(model.zero_state(1), leaves.values())]

    with torch.no_grad():
        logits = model.forward(tokens[None], state())[0][0]
        plain = model.forward(tokens[None])[0][0]
    flat = [t[0].float().detach() for layer in state() for t in layer]
    check("from initial states", package.run(tokens, flat)[0], logits)
    # The file of a tuned state holds it value-major.
    tuned = dict(weights)
    for i, leaf in enumerate(leaves.values()):
        tuned[f"blocks.{i}.att.time_state"] = leaf[0].detach().float().mT.contiguous()
    check("from time_state [H, value, key] in the file", Package(tuned).run(tokens)[0], logits)
    assert difference(logits, plain) > 0.1
    model.loss(tokens[None], state()).backward()
    check_gradients("initial states", leaves, lambda: model.loss(tokens[None], state()))
    out["initial_logits"] = logits.float()
    for i, leaf in enumerate(leaves.values()):
        out[f"initial.{i}.wkv"] = leaf[0].detach().float()
        out[f"initial_grad.{i}"] = leaf.grad[0].float()


def record_pth(name, weights, tokens, out):
    half = {key: t.bfloat16() for key, t in weights.items()}
    path = os.path.join(HERE, name + ".pth")
    torch.save(half, path)
    read = torch.load(path, map_location="cpu", weights_only=True)
    # Float32 before the package sees it: it would normalise a bfloat16 embedding table in bfloat16.
    package = Package({key: t.float() for key, t in read.items()})
    out["pth_logits"] = package.run(tokens[:PTH_TOKENS])[0]


def record_case(name, c):
    print(name)
    generator = torch.Generator().manual_seed(c["seed"])
    weights = make_weights(c, generator)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    config = make_config(c)
    with open(os.path.join(folder, "config.json"), "w") as f:
        f.write(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save({hub_name(key): t for key, t in weights.items()}, os.path.join(folder, "model.safetensors"))
    # What is recorded is what the files on disk give.
    stored = load_file(os.path.join(folder, "model.safetensors"))
    weights = {key: stored[hub_name(key)] for key in weights}
    assert len(stored) == len(weights)
    package, model = Package(weights), maths.Model(config, stored)
    assert package.model.version == {5: 5.2, 6: 6}[c["version"]]
    assert package.model.args.n_head == c["width"] // c["head"]

    tokens = torch.randint(0, c["vocabulary"], (2, TOKENS), generator=generator)
    logits = torch.stack([package.run(row)[0] for row in tokens])
    rms = float(logits.square().mean().sqrt())
    print(f"  logit rms {rms:.3f}")
    assert 0.7 < rms < 1.5
    for p in model.p.values():
        p.requires_grad_()
    check("logits", logits, model.forward(tokens)[0].detach())
    check_all_matter(model, tokens)
    split_check(package, model, tokens[0], logits[0])
    loss = model.loss(tokens)
    loss.backward()
    check_gradients("parameters", model.p, lambda: model.loss(tokens))
    out = {"tokens": tokens, "logits": logits, "loss": loss.detach().float().reshape(1)}
    for key, p in model.p.items():
        out["grad." + key] = p.grad.float()
        p.requires_grad_(False)
    record_states(package, model, torch.randint(0, c["vocabulary"], (max(STATE_AT),), generator=generator), out)
    if c.get("initial"):
        record_initial(package, weights, model, tokens[0], generator, out)
    if c.get("pth"):
        record_pth(name, weights, tokens[0], out)
        print(f"  bfloat16 weights change the logits by {difference(out['pth_logits'], logits[0, :PTH_TOKENS]):.3g}")
    save(out, os.path.join(folder, "golden.safetensors"))


# ---- the operator ----

def written_out(r, k, v, omega, s0, u=None):
    """y without a recurrence: what every earlier token and s0 add, each with the product of the decays between."""
    decay = maths.decay_of(omega).expand(r.shape)
    y = torch.zeros_like(r)
    for t in range(r.shape[1]):
        left = r[:, t]  # r_t times the decays of the tokens between s and t
        for s in reversed(range(t)):
            y[:, t] += (left * k[:, s]).sum(-1, keepdim=True) * v[:, s]
            left = left * decay[:, s]
        y[:, t] += torch.einsum("bhi,bhij->bhj", left, s0)
        if u is not None:
            y[:, t] += (r[:, t] * u * k[:, t]).sum(-1, keepdim=True) * v[:, t]
    return y


def record_operator():
    print("wkv_op")
    rows, heads, size = 37, 2, 32
    generator = torch.Generator().manual_seed(700)

    def n(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def between(low, high, *shape):
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    sequence, square = (1, rows, heads, size), (1, heads, size, size)
    out = {"r": n(*sequence), "k": n(*sequence), "v": n(*sequence), "u": n(heads, size), "s0": n(*square),
           "grad_y": n(*sequence), "grad_final": n(*square)}
    omegas = {"soft": between(-6, -1, *sequence), "hard": between(-6, 2.5, *sequence),
              "v5": between(-6, 1, heads, size), "c2": between(-6, 1, *sequence)}
    for case, omega in omegas.items():
        inputs = ("r", "k", "v", "s0") if case == "c2" else ("r", "k", "v", "s0", "u")
        leaves = {key: out[key].clone().requires_grad_() for key in inputs}
        leaves["omega"] = omega.clone().requires_grad_()

        def run():
            return maths.wkv(leaves["r"], leaves["k"], leaves["v"],
                             maths.decay_of(leaves["omega"]), leaves.get("u"), leaves["s0"])

        def product():
            y, final = run()
            return (y * out["grad_y"]).sum() + (final * out["grad_final"]).sum()

        product().backward()
        check_gradients(case, leaves, product, count=6)
        y, final = (t.detach() for t in run())
        assert difference(y, written_out(**{key: leaf.detach() for key, leaf in leaves.items()})) < 1e-12
        out.update({f"{case}.omega": omega, f"{case}.y": y, f"{case}.final": final})
        out.update({f"{case}.grad_{key}": leaf.grad for key, leaf in leaves.items()})
        rms = float(y.square().mean().sqrt())
        print(f"  omega {float(omega.min()):.2f} .. {float(omega.max()):.2f}, y rms {rms:.2f}")
    assert all(t.dtype == torch.float64 for t in out.values())
    save(out, os.path.join(HERE, "wkv_op.safetensors"))


# ---- initialisation by the original training code ----

INIT = dict(n_layer=3, n_embd=64, head_size_a=32, vocab_size=168)


def load_reference(folder, version):
    """Imports the reference's src/model.py with what it can't have on a CPU replaced."""
    os.environ.update(RWKV_MY_TESTING=version, RWKV_TRAIN_TYPE="", RWKV_CTXLEN="64", RWKV_FLOAT_MODE="fp32",
                      RWKV_HEAD_SIZE_A=str(INIT["head_size_a"]))

    def stub(name, **members):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)

    stub("pytorch_lightning", LightningModule=torch.nn.Module, __version__="1.9.5")
    stub("pytorch_lightning.utilities", rank_zero_info=print, rank_zero_only=lambda f: f)
    stub("pytorch_lightning.strategies", DeepSpeedStrategy=type("DeepSpeedStrategy", (), {}))
    importlib.import_module("torch.utils.cpp_extension")
    torch.utils.cpp_extension.load = lambda **_: None
    spec = importlib.util.spec_from_file_location("reference_" + version, os.path.join(folder, "src", "model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.FusedAdam = lambda groups, **settings: groups
    return module


def describe(name, t):
    """Vectors as they are; matrices that the reference draws, by what was drawn."""
    fact = {"shape": list(t.shape)}
    if bool((t == t.flatten()[0]).all()):
        return dict(fact, constant=float(f"{float(t.flatten()[0]):.9g}"))
    if max(t.shape) == t.numel() or name.endswith(("time_decay", "time_faaaa")):
        return dict(fact, values=[float(f"{x:.9g}") for x in t.flatten().tolist()])
    fact["std"] = float(f"{float(t.std()):.3g}")
    if t.dim() == 2:
        small = t.double() if t.shape[0] <= t.shape[1] else t.double().T
        gram = small @ small.T
        gain = float(gram.diagonal().mean().sqrt())
        if difference(gram, gain ** 2 * torch.eye(len(gram))) < 1e-5 * gain ** 2:
            return dict(fact, orthogonal_gain=float(f"{gain:.5g}"))
    top = float(t.abs().max())
    bound = 10 ** math.ceil(math.log10(top))
    assert top > 0.97 * bound and abs(float(t.mean())) < 0.1 * bound, name
    return dict(fact, uniform_within=float(f"{bound:.1g}"))


def record_init(folder):
    with open(os.path.join(folder, "src", "model.py"), "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == REFERENCE_SHA256, f"{folder} isn't {REFERENCE}"
    record = {"reference": REFERENCE, "sizes": dict(INIT, dim_ffn=inner_width(INIT["n_embd"])),
              "optimiser": "my_pile_stage 1 (and 2 for lr_scale_stage_2), layerwise_lr 1, weight_decay > 0"}
    for version in ("x052", "x060"):
        torch.manual_seed(7)
        module = load_reference(folder, version)
        args = types.SimpleNamespace(
            **INIT, dim_att=INIT["n_embd"], dim_ffn=inner_width(INIT["n_embd"]), head_size_divisor=8, my_pos_emb=0,
            pre_ffn=0, head_qk=0, dropout=0, tiny_att_dim=0, tiny_att_layer=-999, ctx_len=64, accelerator="CPU",
            train_type="", layerwise_lr=1, weight_decay=0.001, my_pile_stage=1, lr_init=6e-4, betas=(0.9, 0.99),
            adam_eps=1e-18)
        model = module.RWKV(args)
        model.trainer = types.SimpleNamespace(is_global_zero=False, strategy=None)
        parameters = model.generate_init_weight()
        groups = {}
        for group in model.configure_optimizers():
            for p in group["params"]:
                groups[id(p)] = {"lr_scale": group["my_lr_scale"], "weight_decay": group["weight_decay"] > 0}
        args.my_pile_stage = 2
        for group in model.configure_optimizers():
            for p in group["params"]:
                groups[id(p)]["lr_scale_stage_2"] = group["my_lr_scale"]
        names = {name: p for name, p in model.named_parameters()}
        assert set(names) == set(parameters) and len(groups) == len(names)
        record[version] = {name: dict(describe(name, t.detach()), **groups[id(names[name])])
                           for name, t in parameters.items()}
    lines = [f' "{key}": {json.dumps(value)}' for key, value in record.items() if key not in ("x052", "x060")]
    for version in ("x052", "x060"):
        rows = ",\n".join(f'  "{name}": {json.dumps(fact)}' for name, fact in record[version].items())
        lines.append(f' "{version}": {{\n{rows}\n }}')
    with open(os.path.join(HERE, "init.json"), "w") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for package_name, version in VERSIONS.items():
        found = importlib.metadata.version(package_name)
        assert found.split("+")[0] == version, f"{package_name} {found}, pinned is {version}"
    if sys.argv[1:2] == ["init"]:
        record_init(sys.argv[2])
    else:
        unknown = set(sys.argv[1:]) - set(CASES) - {"wkv_op"}
        assert not unknown, f"no case {unknown}"
        for name, c in CASES.items():
            if len(sys.argv) == 1 or name in sys.argv[1:]:
                record_case(name, c)
        if len(sys.argv) == 1 or "wkv_op" in sys.argv[1:]:
            record_operator()
