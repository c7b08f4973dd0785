"""Records losses.json, head.json and adamw.json: what volery's loss, head and optimiser must agree with.

Versions: Python 3.11, numpy 2, torch 2.13.0, trl 1.16.0, transformers 5.23.0. Run it in this folder: python record.py

losses.json: TRL's GRPOTrainer._compute_loss in float64, gradients by torch autograd, where TRL has the formula; a numpy
oracle with central differences elsewhere (and beside TRL everywhere: the script stops where the two disagree).
head.json, adamw.json: torch itself. Advantages: torch.mean and torch.std.
"""
import collections
import json
import types

import numpy as np
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

DEFAULT = dict(ratio_level="token", clip_low=0.2, clip_high=0.2, delta=4.0, normaliser="tokens", constant=1.0,
               kl_estimator="k3", kl=0.0, entropy=0.0, quadratic=0.0, cross_entropy=0.0, policy_weight=1.0)


def numpy_loss(spec, sequences):
    """sum over counted tokens of 1/N x (per-token terms), from the definitions in the papers."""
    tokens = sum(len(s["logprob"]) for s in sequences)
    total = 0.0
    for s in sequences:
        l, o, ref, h = (np.asarray(s[k], np.float64) for k in ("logprob", "denominator", "reference", "entropy"))
        n, a = len(l), s["advantage"]
        d = l - o
        r = np.exp(np.full(n, d.mean())) if spec["ratio_level"] == "sequence" else np.exp(d)
        c1 = np.minimum(r, spec["delta"]) if spec["delta"] > 0 else r
        c2 = np.clip(c1, 1 - spec["clip_low"], 1 + spec["clip_high"])
        x = l - ref
        kl = {"k1": x, "k2": x * x / 2, "k3": np.exp(-x) - 1 + x}[spec["kl_estimator"]]
        term = (spec["policy_weight"] * np.maximum(-c1 * a, -c2 * a) + spec["kl"] * kl - spec["entropy"] * h
                + spec["quadratic"] * d * d - spec["cross_entropy"] * l)
        weight = {"tokens": 1 / tokens, "sequences": 1 / (len(sequences) * n),
                  "constant": 1 / (len(sequences) * spec["constant"])}[spec["normaliser"]]
        total += weight * term.sum()
    return total


def numpy_gradients(spec, sequences, key, step=1e-6):
    out = []
    for s in sequences:
        row = []
        for i in range(len(s[key])):
            kept = s[key][i]
            s[key][i] = kept + step
            high = numpy_loss(spec, sequences)
            s[key][i] = kept - step
            low = numpy_loss(spec, sequences)
            s[key][i] = kept
            row.append((high - low) / (2 * step))
        out.append(row)
    return out


def trl_covers(spec):
    return (spec["kl_estimator"] == "k3" and spec["quadratic"] == 0 and spec["cross_entropy"] == 0 and spec["policy_weight"] == 1
            and (spec["entropy"] == 0 or spec["normaliser"] == "tokens"))


def trl_loss(spec, sequences):
    width = max(len(s["logprob"]) for s in sequences)
    pad = lambda key: torch.tensor([list(s[key]) + [0.0] * (width - len(s[key])) for s in sequences], dtype=torch.float64)
    mask = torch.tensor([[1] * len(s["logprob"]) + [0] * (width - len(s["logprob"])) for s in sequences])
    logps, entropies = pad("logprob").requires_grad_(), pad("entropy").requires_grad_()
    accelerator = types.SimpleNamespace(num_processes=1, sync_gradients=True, gather=lambda x: x, gather_for_metrics=lambda x: x,
                                        reduce=lambda x, reduction: x)
    fake = types.SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logps, entropies, None),
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level=spec["ratio_level"], beta=spec["kl"],
        loss_type={"tokens": "dapo", "sequences": "grpo", "constant": "dr_grpo"}[spec["normaliser"]],
        epsilon_low=spec["clip_low"], epsilon_high=spec["clip_high"], max_completion_length=spec["constant"],
        args=types.SimpleNamespace(delta=spec["delta"] or None, use_bias_correction_kl=False, steps_per_generation=1),
        use_vllm=False, vllm_importance_sampling_correction=False, model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1, accelerator=accelerator, _entropy_bonus_enabled=spec["entropy"] > 0,
        use_adaptive_entropy=False, entropy_coef=spec["entropy"], aux_loss_enabled=False,
        _metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
    ids = torch.zeros_like(mask)
    inputs = dict(prompt_ids=ids[:, :1], prompt_mask=mask[:, :1], completion_ids=ids, completion_mask=mask,
                  advantages=torch.tensor([s["advantage"] for s in sequences], dtype=torch.float64),
                  old_per_token_logps=pad("denominator"), ref_per_token_logps=pad("reference"), num_items_in_batch=mask.sum())
    loss = GRPOTrainer._compute_loss(fake, None, inputs)
    loss.backward()
    cut = lambda t: [t[i, : len(s["logprob"])].tolist() for i, s in enumerate(sequences)]
    entropy_gradient = entropies.grad if entropies.grad is not None else torch.zeros_like(entropies)
    return loss.item(), cut(logps.grad), cut(entropy_gradient)


def vector(name, spec, sequences, note=""):
    spec = {**DEFAULT, **spec}
    loss = numpy_loss(spec, sequences)
    gradients = {key: numpy_gradients(spec, sequences, key) for key in ("logprob", "entropy")}
    oracle = "numpy"
    if trl_covers(spec):
        oracle = "trl"
        trl_value, trl_l, trl_h = trl_loss(spec, sequences)
        assert abs(trl_value - loss) <= 1e-12 * max(1, abs(loss)), (name, trl_value, loss)
        for ours, theirs in ((gradients["logprob"], trl_l), (gradients["entropy"], trl_h)):
            for a, b in zip(ours, theirs):
                np.testing.assert_allclose(a, b, atol=2e-8, err_msg=name)
        loss, gradients = trl_value, {"logprob": trl_l, "entropy": trl_h}
    return dict(name=name, note=note, oracle=oracle, spec=spec, sequences=sequences,
                expected=dict(loss=loss, gradient_logprob=gradients["logprob"], gradient_entropy=gradients["entropy"]))


def one(advantage, differences):
    base = [-1.3, -0.4, -2.2, -0.9, -1.7][: len(differences)]
    return dict(advantage=advantage, logprob=base, denominator=[b - d for b, d in zip(base, differences)],
                reference=[b - 0.3 * d - 0.05 for b, d in zip(base, differences)], entropy=[0.9 + 0.1 * i for i in range(len(base))])


def random_sequences(seed, lengths, spread):
    rng = np.random.default_rng(seed)
    out = []
    for n in lengths:
        l = -rng.exponential(1.2, n)
        out.append(dict(advantage=float(rng.normal()), logprob=l.tolist(), denominator=(l - rng.normal(0, spread, n)).tolist(),
                        reference=(l - rng.normal(0, 0.5, n)).tolist(), entropy=rng.uniform(0.1, 2.5, n).tolist()))
    return out


def losses():
    log = lambda r: float(np.log(r))
    mixed = lambda: random_sequences(5, [3, 7, 1, 5], 0.6)
    return [
        vector("on_policy", {}, [one(1.5, [0, 0, 0]), one(-0.7, [0, 0])]),
        vector("positive_over_high", {}, [one(1.0, [log(1.5), log(1.1), log(0.5)])], "flat above 1 + clip_high, alive below 1 - clip_low"),
        vector("negative_three_zones", {}, [one(-1.0, [log(0.5), log(1.0), log(3.0), log(5.0)])], "clipped, alive, alive, capped"),
        vector("negative_three_zones_no_delta", dict(delta=0.0), [one(-1.0, [log(0.5), log(1.0), log(3.0), log(5.0)])]),
        vector("negative_just_around_delta", dict(delta=2.0), [one(-2.0, [log(1.99), log(2.01)])]),
        vector("asymmetric_clip", dict(clip_low=0.1, clip_high=0.28), mixed()),
        vector("normaliser_tokens", {}, mixed()),
        vector("normaliser_sequences", dict(normaliser="sequences"), mixed()),
        vector("normaliser_constant", dict(normaliser="constant", constant=32.0, delta=0.0), mixed()),
        vector("kl_k1", dict(kl=0.04, kl_estimator="k1"), mixed()),
        vector("kl_k2", dict(kl=0.04, kl_estimator="k2"), mixed()),
        vector("kl_k3", dict(kl=0.04), mixed()),
        vector("kl_k3_sequences", dict(kl=0.04, normaliser="sequences"), mixed()),
        vector("entropy", dict(entropy=1e-3), mixed()),
        vector("entropy_constant_normaliser", dict(entropy=1e-2, normaliser="constant", constant=16.0), mixed()),
        vector("kl_and_entropy", dict(kl=1e-3, entropy=1e-4), mixed(), "intellect2-paper"),
        vector("sequence_ratio", dict(ratio_level="sequence", normaliser="sequences", clip_low=3e-4, clip_high=4e-4, delta=0.0),
               random_sequences(6, [4, 6, 2], 2e-4), "GSPO"),
        vector("sequence_ratio_clipped", dict(ratio_level="sequence", normaliser="sequences"), random_sequences(7, [4, 6, 2, 5], 0.8)),
        vector("sequence_ratio_tokens", dict(ratio_level="sequence"), random_sequences(8, [4, 1, 2], 0.3)),
        vector("quadratic", dict(quadratic=1e-3), mixed()),
        vector("cross_entropy_only", dict(policy_weight=0.0, cross_entropy=1.0), mixed(), "supervised"),
        vector("no_advantage", dict(kl=0.04), [one(0.0, [0.3, -0.2]), one(0.0, [0.1])]),
    ]


def advantages():
    groups = dict(mixed=[0.0, 1.0, 0.25, 1.0, 0.0], pair=[1.0, 0.0], nearly_equal=[0.5, 0.5, 0.5000001], negative=[-2.0, -1.0, -4.5, 3.0],
                  all_solved=[1.0] * 8, tenths=[0.1, 0.1, 0.1], single=[0.7])
    out = []
    for name, rewards in groups.items():
        r = torch.tensor(rewards, dtype=torch.float64)
        degenerate = len(set(rewards)) == 1
        zero = torch.zeros_like(r)
        scaled = lambda eps: zero if degenerate else (r - r.mean()) / (r.std() + eps)
        others = zero if degenerate else torch.stack([r[i] - torch.cat([r[:i], r[i + 1:]]).mean() for i in range(len(r))])
        out.append(dict(name=name, rewards=rewards, grpo=scaled(1e-4).tolist(), intellect2=scaled(1e-6).tolist(),
                        dr_grpo=(zero if degenerate else r - r.mean()).tolist(), leave_one_out=others.tolist()))
    return out


def head():
    generator = torch.Generator().manual_seed(11)
    out = []
    for name, rows, width, vocabulary, temperatures in (("plain", 4, 9, 9, [1.0] * 4), ("masked_tail", 3, 12, 7, [1.0] * 3),
                                                        ("temperatures", 5, 10, 8, [0.6, 1.0, 1.7, 0.6, 2.5])):
        logits = torch.randn(rows, width, generator=generator, dtype=torch.float64) * 3
        targets = [(0, 1), (0, 1), (0, 5)] + [(r, int(torch.randint(vocabulary, (1,), generator=generator))) for r in range(rows)]
        weights = torch.randn(2, len(targets), generator=generator, dtype=torch.float64)
        logits.requires_grad_()
        scores = logits.clone()
        scores[:, vocabulary:] = -1e300
        logprobs = torch.log_softmax(scores / torch.tensor(temperatures, dtype=torch.float64).unsqueeze(1), -1)
        row, token = torch.tensor([t[0] for t in targets]), torch.tensor([t[1] for t in targets])
        l = logprobs[row, token]
        h = torch.distributions.Categorical(logits=logprobs).entropy()[row]
        (weights[0] * l + weights[1] * h).sum().backward()
        out.append(dict(name=name, vocabulary=vocabulary, logits=logits.tolist(), temperatures=temperatures, targets=targets,
                        logprob=l.tolist(), entropy=h.tolist(), gradient_logprob=weights[0].tolist(),
                        gradient_entropy=weights[1].tolist(), gradient_logits=logits.grad.tolist()))
    return out


def adamw():
    out = []
    for dtype, clip in ((torch.float64, 0.0), (torch.float32, 0.0), (torch.float64, 0.5)):
        generator = torch.Generator().manual_seed(3)
        shapes = dict(matrix=[3, 4], norm=[4])
        tensors = {k: torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for k, s in shapes.items()}
        initial = {k: t.flatten().tolist() for k, t in tensors.items()}
        optimiser = torch.optim.AdamW([dict(params=[tensors["matrix"]], weight_decay=0.1), dict(params=[tensors["norm"]], weight_decay=0.0)],
                                      lr=1e-2, betas=(0.9, 0.99), eps=1e-8, foreach=False, fused=False)
        steps = []
        for _ in range(10):
            gradients = {}
            for k, t in tensors.items():
                t.grad = torch.randn(shapes[k], generator=generator, dtype=dtype) * 0.3
                gradients[k] = t.grad.flatten().tolist()
            norm = torch.nn.utils.clip_grad_norm_(list(tensors.values()), clip or 1e30).item()
            optimiser.step()
            steps.append(dict(gradients=gradients, norm=norm, values={k: t.detach().flatten().tolist() for k, t in tensors.items()}))
        out.append(dict(dtype=str(dtype).split(".")[1], max_grad_norm=clip, shapes=shapes, initial=initial, lr=1e-2, beta1=0.9, beta2=0.99,
                        epsilon=1e-8, weight_decay=0.1, steps=steps))
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, content in (("losses", dict(losses=losses(), advantages=advantages())), ("head", dict(vectors=head())), ("adamw", dict(runs=adamw()))):
        with open(name + ".json", "w") as file:
            file.write(json.dumps(content, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
