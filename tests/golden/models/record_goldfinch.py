#!/usr/bin/env python3
"""Records what the GoldFinch reference computes for tiny random models of it and of its sibling models.

Pinned: the repository recursal/GoldFinch-paper at commit 4fbc70c, torch 2.13.0 (CPU), numpy 2.4.6, safetensors 0.8.0; any
PyYAML. One thread. The reference runs unchanged but for two things that it can't bring on a CPU: `lightning` is replaced by
the three names it imports from there, and its CUDA kernel by the plain recurrence below.

  record_goldfinch.py REPO [CASE ...]    REPO: a checkout of that commit. Without a CASE: all of them, "init" and "counts"

A case writes <case>/config.json, model.safetensors, golden.safetensors and zero_gradients.json; README.md says what is in
them. "init" writes goldfinch_init.json, "counts" goldfinch_counts.json. The same bytes come out of every run.
"""
import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import types

os.environ.update(OMP_NUM_THREADS="1", RWKV_HEAD_SIZE_A="64", RWKV_CTXLEN="128", RWKV_MODEL_TYPE="", RWKV_JIT_ON="0",
                  RWKV_TORCH_COMPILE="0", RWKV_FLOAT_MODE="32")
sys.dont_write_bytecode = True
import numpy
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
COMMIT = "4fbc70c674a95de2b9176b1a49540e2b6c967fa6"
TOKENS, VOCABULARY, CONTEXT = 40, 96, 128
READ = (1, 2, 17, 64)  # states are recorded after so many tokens

C2, GOLD = dict(tmix="x060c2"), dict(tmix2="gold")
C2_PLAIN, C2_HALF = dict(C2, use_one_minus_w=0), dict(C2, use_one_minus_w=0, use_v2=0)
SMALL = dict(n_layer=3, n_embd=32, head_size=16, dim_ffn=64)
# name: (fields of the reference's model config, RoPE base)
CASES = {
    "goldfinch": (dict(SMALL, **C2, **GOLD, n_layer=6), None),
    "goldfinch-rope": (dict(SMALL, **C2, **GOLD), 10000.0),
    "goldfinch-half": (dict(SMALL, **C2_HALF, **GOLD, n_layer=4, inv_other_layer_ratio=2), None),
    "goldfinch-1to1": (dict(**C2, **GOLD, n_layer=2, inv_other_layer_ratio=2, n_embd=64, head_size=64, dim_ffn=32,
                            kv_cache_compression_ratio=1), None),
    "finch": (dict(SMALL, tmix="x060"), None),
    "finch-c2": (dict(SMALL, **C2), None),
    "finch-c2-plain": (dict(SMALL, **C2_PLAIN, n_layer=2), None),
    "finch-c2-gptalpha": (dict(SMALL, **C2, tmix2="gptalpha"), None),
    "gptalpha": (dict(SMALL, tmix="gptalpha"), 10000.0),
    "llama-like": (dict(SMALL, tmix="llama", cmix="llama"), 10000.0),
}


def wkv6(r, k, v, w, u, state):
    """y_t = (S + v_t (u k_t)^T) r_t, then S = S diag(exp(-exp(w_t))) + v_t k_t^T, a head at a time; S is [value, key].

    As the reference's kernel: `state` [B, H, N, N] is read, gives no gradient, and is overwritten with the last S."""
    batch, length, _ = r.shape
    heads, size = state.shape[1:3]
    r, k, v, decay = (x.view(batch, length, heads, size) for x in (r, k, v, torch.exp(-torch.exp(w))))
    s, rows = state.detach().clone(), []
    for t in range(length):
        kv = v[:, t, :, :, None] * k[:, t, :, None, :]
        rows.append(((s + u[None, :, None, :] * kv) * r[:, t, :, None, :]).sum(-1))
        s = s * decay[:, t, :, None, :] + kv
    with torch.no_grad():
        state.copy_(s)
    return torch.stack(rows, 1).reshape(batch, length, heads * size)


def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(members)


def open_reference(repo):
    head = subprocess.run(["git", "-C", repo, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert head.stdout.strip() == COMMIT, f"{repo} is at {head.stdout.strip()}, not at {COMMIT}"
    subprocess.run(["git", "-C", repo, "diff", "--quiet", "HEAD"], check=True)
    for name in ("lightning", "lightning.pytorch", "lightning.pytorch.utilities", "cuda"):
        module(name, Trainer=object)
    module("lightning.pytorch.utilities.rank_zero", rank_zero_info=lambda *text: None, rank_zero_only=lambda f: f)
    module("cuda.rwkv6_cuda", RUN_CUDA_RWKV6=wkv6)
    sys.path.insert(0, repo)
    global configs, reference, rms_norm, ModelState, BlockState
    with contextlib.redirect_stdout(io.StringIO()):
        import configs
        import src.model as reference
        from src.norm import rms_norm
        from src.state import BlockState, ModelState


def reference_config(fields, rope):
    kind = configs.FinchC2_Config if "c2" in fields["tmix"] else configs.Transformer_Config
    fields = dict(dict(vocab_size=VOCABULARY, ctx_len=CONTEXT), **fields)
    if rope:
        fields["rope"] = configs.RoPE_Config(base=rope)
    train = configs.Train_Config(accelerator="cpu", train_stage=3, weight_decay=0.001)
    return configs.TrainerCLI_Config(train=train, model=kind(**fields))


def build(fields, rope):
    return reference.Transformer(reference_config(fields, rope))


def our_config(m, rope):
    """The reference has no such file; its field names are kept where there is no usual one. Where it leaves tmix2 empty
    (one kind of layer), every layer takes tmix and cmix, and here tmix2 and cmix2 repeat them."""
    single = m.tmix2 == ""
    return dict(
        model_type="goldfinch", architectures=["GoldFinchForCausalLM"], hidden_size=m.n_embd,
        num_hidden_layers=m.n_layer, vocab_size=m.vocab_size, head_size=m.head_size, intermediate_size=m.dim_ffn,
        max_position_embeddings=m.ctx_len, layer_norm_epsilon=1e-5, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=False, tmix=m.tmix, tmix2=m.tmix if single else m.tmix2, cmix=m.cmix,
        cmix2=m.cmix if single else m.cmix2, inv_other_layer_ratio=m.inv_other_layer_ratio,
        kv_cache_compression_ratio=m.kv_cache_compression_ratio, use_one_minus_w=bool(getattr(m, "use_one_minus_w", 1)),
        use_v2=bool(getattr(m, "use_v2", 1)), rope_theta=rope)


def randomise(model, generator):
    """Every value, for logits of about 1: as initialised, half of the tensors are zero and their paths silent."""
    for name, p in model.named_parameters():
        normal, uniform = torch.randn(p.shape, generator=generator), torch.rand(p.shape, generator=generator)
        last = name.split(".")[-1]
        if last.endswith("_w1"):
            value = 0.8 * p.shape[0] ** -0.5 * normal
        elif last.endswith("_w2"):
            value = 0.1 * normal
        elif last.startswith("time_maa"):
            value = 0.02 + 0.96 * uniform
        elif last == "time_decay":
            value = -5 * uniform
        elif last == "time_faaaa":
            value = 0.5 * normal
        elif p.dim() == 1:
            value = (1 if last == "weight" else 0) + 0.2 * normal
        else:  # the embedding is small, so that ln0's epsilon counts
            value = (0.05 if name == "emb.weight" else p.shape[1] ** -0.5) * normal
        with torch.no_grad():
            p.copy_(value)
        assert bool((p != 0).all()), name


def random_tokens(generator):
    tokens = torch.randint(0, VOCABULARY, (2, TOKENS), generator=generator)
    tokens[0, 20:25] = tokens[0, 5:10]  # the same few tokens again
    tokens[1, 7] = tokens[1, 6]         # one token twice in a row, and four times
    tokens[1, 30:34] = tokens[1, 29]
    state_tokens = torch.randint(0, VOCABULARY, (max(READ),), generator=generator)
    state_tokens[11:13] = state_tokens[10]
    state_tokens[40:50] = state_tokens[2:12]
    return tokens, state_tokens


def cross_entropy(logits, tokens):
    return F.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


def take_taps(model, taps):
    """Fills `taps` at every forward pass of a whole sequence with row 0 of inner results."""
    def keep(key):
        def hook(_, __, output):
            value = output[0] if isinstance(output, tuple) else output
            if value.size(1):  # ln0 also sees the empty token cache
                taps[key] = value[0].detach()
        return hook

    hooks = [model.blocks[0].ln0.register_forward_hook(keep("x0"))]
    for i, block in enumerate(model.blocks):
        hooks.append(block.register_forward_hook(keep(f"x.{i}")))
        for part, layer in (("q", "ln_q"), ("q", "ln_r"), ("k", "ln_k"), ("v", "ln_v")):
            if hasattr(block.att, layer):
                hooks.append(getattr(block.att, layer).register_forward_hook(keep(f"{part}.{i}")))
    if model.is_cache_once:
        hooks.append(model.w_kv_cache_a.register_forward_hook(keep("c")))
    return hooks


def record_training(model, tokens):
    """Logits, loss, gradients and taps, and which parameters have no gradient (none) or only rounding in it (zero)."""
    taps = {}
    hooks = take_taps(model, taps)
    logits, state = model(tokens)
    for hook in hooks:
        hook.remove()
    if model.is_cache_once:
        taps["kd"] = state.k_cache[0].detach()
    loss = cross_entropy(logits, tokens)
    loss.backward()
    out = {"tokens": tokens, "logits": logits.detach(), "loss": loss.detach().reshape(1), **taps}
    # Copies: a later change of the model's dtype takes the gradients with it.
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    total = sum(float(g.square().sum()) for g in gradients.values() if g is not None) ** 0.5
    silent = {"none": [name for name, g in gradients.items() if g is None],
              "zero": [name for name, g in gradients.items() if g is not None and float(g.norm()) < 1e-12 * total]}
    for name, g in gradients.items():
        if name not in silent["none"] + silent["zero"]:
            assert float(g.norm()) > 1e-5 * total, f"{name}: gradient of {float(g.norm())} beside {total}"
            out["grad." + name] = g
    return out, silent


def check_that_all_counts(model, tokens, logits, silent):
    """Without any one parameter the logits are others, by a hundred times what a comparison allows."""
    least = (1e9, "")
    for name, p in model.named_parameters():
        old = p.detach().clone()
        with torch.no_grad():
            p.fill_(1.0 if p.dim() == 1 and name.endswith("weight") else 0.0)
            change = float((model(tokens)[0] - logits).abs().max())
            p.copy_(old)
        if name in silent["none"] + silent["zero"]:
            assert change < 1e-9, name
        else:
            least = min(least, (change, name))
    assert least[0] > 0.01, least
    return least


def record_l2wrap(model, tokens, repo):
    """The gradient of the reference's L2Wrap term alone, of the positions that the loss reads."""
    with open(os.path.join(repo, "src", "lit.py")) as f:
        tree = ast.parse(f.read())
    tree.body = [node for node in tree.body if getattr(node, "name", "") == "L2Wrap"]
    scope = {"torch": torch}
    exec(compile(tree, "lit.py", "exec"), scope)  # the file needs all of lightning; its class does not
    model.zero_grad()
    logits = model(tokens[:, :-1])[0]
    scope["L2Wrap"].apply(torch.zeros((), dtype=logits.dtype, requires_grad=True), logits).backward()
    names = ("head.weight", "emb.weight", "ln_out.weight")
    out = {"l2wrap_grad." + name: dict(model.named_parameters())[name].grad.clone() for name in names}
    # The formula: 1e-4 / (rows * positions) * the largest logit, at the largest logit.
    model.zero_grad()
    logits = model(tokens[:, :-1])[0]
    top = logits.max(-1).values
    (top.detach() * top * 1e-4 / top.numel()).sum().backward()
    for name in names:
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, out["l2wrap_grad." + name])
    return out


def bottom_right_attention(q, k, v, is_causal):
    assert is_causal
    future = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).triu(k.size(-2) - q.size(-2) + 1)
    return torch.softmax((q @ k.mT / q.size(-1) ** 0.5).masked_fill(future, -torch.inf), -1) @ v


def truncated_logits(model, tokens, tail):
    """Logits of the last token where the GOLD layers run on the last `tail` tokens only: the first one's shift starts from
    the token before those, all others from zero. The layers are the reference's, its mask is not (it would be aligned
    top-left here)."""
    config, first = model.config.model, reference.get_second_submodel_layer_id(model.config.model)
    x0 = x = model.blocks[0].ln0(model.emb(tokens[None]))
    state = ModelState()
    state.block_states = [BlockState(mix(x, config, False), channel(x, config, False)) for mix, channel in
                          zip(model.default_time_mix_state_factories, model.default_channel_mix_state_factories)]
    for block in model.blocks[:first]:
        x, _ = block(x, x0, None, state, model.shared)
    kd = rms_norm(model.w_kv_cache_b(torch.cat([x0, model.w_kv_cache_a(x)], -1)))
    state.block_states[first].time_mix_state.shift_state = model.blocks[first].ln1(x[:, -tail - 1])
    x = x[:, -tail:]
    plain, F.scaled_dot_product_attention = F.scaled_dot_product_attention, bottom_right_attention
    for block in model.blocks[first:]:
        x, _ = block(x, x0, kd, state, model.shared)
    F.scaled_dot_product_attention = plain
    return model.head(model.ln_out(x[0, -1]))


def record_truncated(model, tokens, full):
    gold = model.config.model.n_layer - reference.get_second_submodel_layer_id(model.config.model)
    out = {"truncated_logits.2g": truncated_logits(model, tokens, 2 * gold),
           "truncated_logits.2g_minus_1": truncated_logits(model, tokens, 2 * gold - 1)}
    differences = [float((value - full).abs().max()) for value in out.values()]
    assert differences[0] < 1e-12 and differences[1] > 1e-3, differences
    print("  GOLD on the last 2G and 2G-1 tokens only: logits off by %.1e and %.1e" % tuple(differences))
    return out


def state_tensors(model, state, n):
    out = {}
    if model.is_cache_once:
        out[f"kd_cache.{n}"] = state.k_cache[0]
    for i, block in enumerate(state.block_states):
        mix, kind = block.time_mix_state, type(model.blocks[i].att).__name__
        if mix.shift_state.numel():
            out[f"states.{n}.{i}.tmix_shift"] = mix.shift_state[0]
        if block.channel_mix_state.shift_state.numel():
            out[f"states.{n}.{i}.cmix_shift"] = block.channel_mix_state.shift_state[0]
        if "x060" in kind:
            out[f"states.{n}.{i}.wkv"] = mix.wkv_state[0].transpose(1, 2)  # the reference has [head, value, key]
    return out


def record_decode(model, tokens):
    """Logits and states after the first n tokens, read at once; and how far reading one by one is from that."""
    out = {"state_tokens": tokens}
    for n in READ:
        logits, state = model(tokens[None, :n])
        out[f"state_logits.{n}"] = logits[0, -1]
        out.update(state_tensors(model, state, n))
    _, state = model(tokens[None, :17])
    for t in range(17, len(tokens)):
        logits, state = model(tokens[None, t:t + 1], state)
    stepped = dict(state_tensors(model, state, max(READ)), **{f"state_logits.{max(READ)}": logits[0, -1]})
    worst = max((float((value - out[key]).abs().max()), key) for key, value in stepped.items())
    print("  17 at once and the rest one by one: logits off by %.1e, at most %.1e (%s)" % (
        float((logits[0, -1] - out[f"state_logits.{max(READ)}"]).abs().max()), *worst))
    assert worst[0] < 1e-4
    return out


def record_pth(model, tokens, path):
    """A checkpoint as the reference's trainer leaves it: torch.save of the model's state dict, in bfloat16."""
    torch.save(model.bfloat16().state_dict(), path)
    model.float().load_state_dict(torch.load(path, weights_only=True))
    return {"pth_logits": model(tokens[None, :17])[0][0]}


def same_with_second_kind_named(fields, rope, weights, tokens):
    """tmix2 = tmix builds the same model as the empty tmix2 of the reference's configs."""
    model = build(dict(fields, tmix2=fields["tmix"], cmix2=fields.get("cmix", "x060")), rope)
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.double().train()(tokens)[0]


def float_tensor(x):
    return (x if x.dtype == torch.int64 else x.float()).contiguous().clone()


def record_case(name, seed, repo):
    fields, rope = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    model = build(dict(fields), rope)
    randomise(model, generator)
    save_file(dict(model.state_dict()), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w") as f:
        f.write(json.dumps(our_config(model.config.model, rope), indent=2) + "\n")
    tokens, state_tokens = random_tokens(generator)
    # What is recorded is what the file on disk gives.
    weights = load_file(os.path.join(folder, "model.safetensors"))
    model = build(dict(fields), rope)
    model.load_state_dict(weights)
    model.double().train()
    out, silent = record_training(model, tokens)
    logits = out["logits"]
    print(f"{name}: loss {float(out['loss']):.4f}, logit rms {float(logits.square().mean().sqrt()):.3f}, "
          f"{sum(p.numel() for p in weights.values())} parameters; without gradient {silent}")
    with torch.no_grad():
        least = check_that_all_counts(model, tokens, logits, silent)
        print("  least change of logits without one parameter: %.3f (%s)" % least)
        if not fields.get("tmix2"):
            assert torch.equal(same_with_second_kind_named(fields, rope, weights, tokens), logits)
    if name == "goldfinch":
        out.update(record_l2wrap(model, tokens, repo))
        with torch.no_grad():
            out.update(record_truncated(model, tokens[0], logits[0, -1]))
    model.float().eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        print("  float32 from float64: logits off by %.1e" % float((model(tokens)[0] - logits).abs().max()))
        out.update(record_decode(model, state_tokens))
        if name == "goldfinch-half":
            out.update(record_pth(model, state_tokens, os.path.join(HERE, name + ".pth")))
    save_file({key: float_tensor(value) for key, value in out.items()}, os.path.join(folder, "golden.safetensors"))
    with open(os.path.join(folder, "zero_gradients.json"), "w") as f:
        f.write(json.dumps(silent, indent=1) + "\n")


def shortest(values):
    return [float(str(x)) for x in values.detach().flatten().numpy()]


class DrawLog(contextlib.ExitStack):
    """While open, remembers by the address of a tensor's data which random draw filled it last, and with what."""

    def __enter__(self):
        super().__enter__()
        self.draws = {}
        self.uniform, self.orthogonal = torch.Tensor.uniform_, torch.nn.init.orthogonal_
        self.callback(setattr, torch.Tensor, "uniform_", self.uniform)
        self.callback(setattr, torch.nn.init, "orthogonal_", self.orthogonal)
        log = self

        def uniform_(tensor, low=0.0, high=1.0, **more):
            low, high = more.pop("from", low), more.pop("to", high)
            log.draws[tensor.data_ptr()] = dict(init="uniform", low=low, high=high)
            return log.uniform(tensor, low, high, **more)

        def orthogonal_(tensor, gain=1, **more):
            log.draws[tensor.data_ptr()] = dict(init="orthogonal", gain=gain)
            return log.orthogonal(tensor, gain, **more)

        torch.Tensor.uniform_, torch.nn.init.orthogonal_ = uniform_, orthogonal_
        return self


def describe(value, again, draws):
    """What the initialisation left in a tensor; `again` is the same one of a second run with another seed."""
    if torch.equal(value, again):
        first = value.flatten()[0]
        if not bool((value == first).all()):
            return dict(init="values", values=shortest(value))
        return dict(init={0.0: "zeros", 1.0: "ones"}.get(float(first), "constant"),
                    **({} if float(first) in (0.0, 1.0) else {"value": shortest(first)[0]}))
    drawn = draws[value.data_ptr()]
    if drawn["init"] == "uniform":
        assert drawn["low"] <= float(value.min()) < 0.8 * drawn["low"] and float(value.max()) <= drawn["high"]
    else:
        m = value.double() if value.size(0) <= value.size(1) else value.double().T
        torch.testing.assert_close(m @ m.T, drawn["gain"] ** 2 * torch.eye(m.size(0)).double(), atol=1e-5, rtol=0)
    return drawn


def init_facts(fields, rope):
    with contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(1)
        again = build(dict(fields), rope).generate_init_weight()
        torch.manual_seed(2)
        with DrawLog() as log:
            model = build(dict(fields), rope)
            weights = model.generate_init_weight()
        groups = model.get_optim_groups()
    names = {id(p): name for name, p in model.named_parameters()}
    group_of = {names[id(p)]: dict(group=g["name"], lr_scale=g["my_lr_scale"], weight_decay=g["weight_decay"])
                for g in groups for p in g["params"]}
    assert sorted(weights) == sorted(group_of)
    parameters = {name: dict(shape=list(w.shape), **describe(w, again[name], log.draws), **group_of[name])
                  for name, w in weights.items()}
    return dict(config=our_config(model.config.model, rope), parameters=parameters)


def write_rows(path, head, tables):
    """JSON with one line a row."""
    with open(path, "w") as f:
        f.write(json.dumps(head)[:-1])
        for key, rows in tables.items():
            f.write(",\n%s: {\n" % json.dumps(key))
            f.write(",\n".join(" %s: %s" % (json.dumps(k), json.dumps(v)) for k, v in rows.items()) + "}")
        f.write("}\n")


def record_init():
    models = {"goldfinch": (dict(SMALL, **C2, **GOLD, n_layer=6, n_embd=64, head_size=32, dim_ffn=0), None)}
    models.update({name: CASES[name] for name in ("finch", "gptalpha", "llama-like")})
    tables = {}
    for name, (fields, rope) in models.items():
        facts = init_facts(fields, rope)
        tables[name + ".config"], tables[name] = facts["config"], facts["parameters"]
    write_rows(os.path.join(HERE, "goldfinch_init.json"), dict(
        reference=COMMIT, torch=torch.__version__, note="train_stage 3, layerwise_lr 1, weight_decay 0.001; values are "
        "row-major; uniform and orthogonal are draws, the rest is the same for every seed"), tables)


def load_yaml(repo, *names):
    arguments = [part for name in names for part in ("-c", os.path.join(repo, "configs", name + ".yaml"))]
    config, errors = configs.parse_cmdline_configs(arguments)
    assert errors == "", errors
    return config


def record_counts(repo):
    l12, l24 = "L12D768ctx1024minipile", "L24D2048ctx2048minipile"
    models = {"finch": (l12, l24), "finchc2": (l12, l24), "goldfinch_ablation_gptalpha": (l12,), "goldfinch": (l12, l24),
              "goldfinch_ablation_gold_invratio_2": (l12,), "goldfinch_ablation_gold_invratio_6": (l12,),
              "goldfinch_ablation_rope10k": (l12,), "gptalpha": (l12,), "llama": (l12, l24)}
    rows, shapes = {}, {}
    for name, sizes in models.items():
        for size in sizes:
            with torch.device("meta"):
                model = reference.Transformer(load_yaml(repo, size, name))
            values = {key: list(p.shape) for key, p in model.state_dict().items()}
            rows[f"{size}+{name}"] = dict(parameters=sum(p.numel() for p in model.parameters()), tensors=len(values))
            print(f"{size}+{name}", rows[f"{size}+{name}"])
            if name == "goldfinch" and size == l12:
                shapes = fold_blocks(model, values)
    write_rows(os.path.join(HERE, "goldfinch_counts.json"), dict(reference=COMMIT, torch=torch.__version__),
               {"counts": rows, "shapes of %s+goldfinch" % l12: shapes})


def fold_blocks(model, shapes):
    """Blocks of one kind under one name, blocks.<first>-<last>."""
    first, last, folded = reference.get_second_submodel_layer_id(model.config.model), len(model.blocks) - 1, {}
    for name, shape in shapes.items():
        parts = name.split(".")
        if parts[0] == "blocks" and parts[2] != "ln0":
            parts[1] = f"0-{first - 1}" if int(parts[1]) < first else f"{first}-{last}"
        assert folded.setdefault(".".join(parts), shape) == shape, name
    return folded


if __name__ == "__main__":
    versions = torch.__version__.split("+")[0], numpy.__version__, safetensors.__version__
    assert versions == ("2.13.0", "2.4.6", "0.8.0"), versions
    torch.set_num_threads(1)
    repo, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    assert set(wanted) <= {*CASES, "init", "counts"}, wanted
    open_reference(repo)
    for index, name in enumerate(CASES):
        if not wanted or name in wanted:
            record_case(name, 200 + index, repo)
    if not wanted or "init" in wanted:
        record_init()
    if not wanted or "counts" in wanted:
        record_counts(repo)
