"""RWKV-5.2 and RWKV-6 in float64 PyTorch, written from their formulas, for what the rwkv package lacks: gradients.

Not a reference by itself: record_rwkv.py holds its logits and states against the package before it uses them.
Parameters are named as in Hugging Face files. States are [H, N key, N value].
"""
import torch
from torch.nn.functional import cross_entropy, group_norm, layer_norm


def wkv(r, k, v, decay, u, state):
    """Gives y and the last state. r, k, v [B, T, H, N], decay also [1, 1, H, N], u [H, N] or None, state [B, H, N, N]."""
    rows = []
    decay = decay.expand(r.shape)
    for t in range(r.shape[1]):
        new = k[:, t, :, :, None] * v[:, t, :, None, :]
        seen = state if u is None else state + u[..., None] * new
        rows.append((r[:, t, :, :, None] * seen).sum(-2))
        state = decay[:, t, :, :, None] * state + new
    return torch.stack(rows, 1), state


def decay_of(omega):
    return torch.exp(-torch.exp(omega))


def shifted(z, carried):
    return torch.cat([carried[:, None], z[:, :-1]], 1)


class Model:
    def __init__(self, config, parameters):
        self.version = {"rwkv5": 5, "rwkv6": 6}[config["model_type"]]
        self.layers, self.width, self.head = config["num_hidden_layers"], config["hidden_size"], config["head_size"]
        self.p = {name: t.double() for name, t in parameters.items()}

    def zero_state(self, rows):
        heads = self.width // self.head
        return [(torch.zeros(rows, self.width).double(), torch.zeros(rows, heads, self.head, self.head).double(),
                 torch.zeros(rows, self.width).double()) for _ in range(self.layers)]

    def norm(self, x, name):
        return layer_norm(x, (self.width,), self.p[name + ".weight"], self.p[name + ".bias"], 1e-5)

    def eagle_inputs(self, z, before, at):
        mixed = {}
        for name in ("receptance", "key", "value", "gate"):
            mu = self.p[f"{at}time_mix_{name}"]
            mixed[name] = mu * z + (1 - mu) * before
        return mixed, self.p[at + "time_decay"][None, None]

    def finch_inputs(self, z, before, at):
        d = before - z
        p = {name: self.p[f"{at}time_{name}"] for name in (
            "maa_x", "maa_w", "maa_k", "maa_v", "maa_r", "maa_g", "maa_w1", "maa_w2", "decay", "decay_w1", "decay_w2")}
        low = torch.tanh((z + d * p["maa_x"]) @ p["maa_w1"]).unflatten(-1, (5, -1))
        mixed = {}
        for i, (short, name) in enumerate(
                (("w", "decay"), ("k", "key"), ("v", "value"), ("r", "receptance"), ("g", "gate"))):
            mixed[name] = z + d * (p["maa_" + short] + low[..., i, :] @ p["maa_w2"][i])
        omega = p["decay"] + torch.tanh(mixed.pop("decay") @ p["decay_w1"]) @ p["decay_w2"]
        return mixed, omega.unflatten(-1, (-1, self.head))

    def time_mix(self, z, at, shift, state):
        inputs = self.eagle_inputs if self.version == 5 else self.finch_inputs
        mixed, omega = inputs(z, shifted(z, shift), at)
        r, k, v, g = (mixed[n] @ self.p[f"{at}{n}.weight"].T for n in ("receptance", "key", "value", "gate"))
        r, k, v = (x.unflatten(-1, (-1, self.head)) for x in (r, k, v))
        y, state = wkv(r, k, v, decay_of(omega), self.p[at + "time_faaaa"], state)
        y = group_norm(y.flatten(0, 1).flatten(1), self.width // self.head, self.p[at + "ln_x.weight"],
                       self.p[at + "ln_x.bias"], 64e-5).view_as(z)
        return (y * torch.nn.functional.silu(g)) @ self.p[at + "output.weight"].T, z[:, -1], state

    def channel_mix(self, z, at, shift):
        before = shifted(z, shift)
        if self.version == 5:
            mk, mr = self.p[at + "time_mix_key"], self.p[at + "time_mix_receptance"]
            zk, zr = mk * z + (1 - mk) * before, mr * z + (1 - mr) * before
        else:
            zk, zr = (z + (before - z) * self.p[f"{at}time_maa_{c}"] for c in "kr")
        inner = torch.relu(zk @ self.p[at + "key.weight"].T) ** 2
        gate = torch.sigmoid(zr @ self.p[at + "receptance.weight"].T)
        return gate * (inner @ self.p[at + "value.weight"].T), z[:, -1]

    def forward(self, tokens, state=None):
        """tokens [B, T]. Gives logits [B, T, V] and the state: per layer shift, [B, H, N, N], shift."""
        state = state or self.zero_state(tokens.shape[0])
        x, after = self.norm(self.p["rwkv.embeddings.weight"][tokens], "rwkv.blocks.0.pre_ln"), []
        for i, (att, s, ffn) in enumerate(state):
            block = f"rwkv.blocks.{i}."
            out, att, s = self.time_mix(self.norm(x, block + "ln1"), block + "attention.", att, s)
            x = x + out
            out, ffn = self.channel_mix(self.norm(x, block + "ln2"), block + "feed_forward.", ffn)
            x = x + out
            after.append((att, s, ffn))
        return self.norm(x, "rwkv.ln_out") @ self.p["head.weight"].T, after

    def loss(self, tokens, state=None):
        logits, _ = self.forward(tokens, state)
        return cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
