#!/usr/bin/env python3
"""Records what transformers computes for tiny random models of each supported family, and SmolLM2's greedy tokens.

Pinned: torch 2.13.0 (CPU), transformers 5.23.0, tokenizers 0.23.3, gguf 0.19.0, safetensors. One thread, float32,
eager attention.

  record.py tiny [CASE ...]          writes <case>/config.json, <case>/model.safetensors, <case>/golden.safetensors
  record.py smollm2 MODEL.gguf       writes smollm2.json

golden.safetensors of a case: tokens [2, T] int64, logits [2, T, V] float32, loss [1] (mean cross-entropy over both rows'
next tokens), and grad.<parameter> for every parameter.
"""
import json
import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config, Qwen3Config

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENS = 40
BASE = dict(vocab_size=168, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.25, attention_dropout=0.0,
            bos_token_id=1, eos_token_id=2)


def rope(theta, **more):
    return dict({"rope_type": "default", "rope_theta": theta}, **more)


# name: (config, old spelling)
CASES = {
    "qwen2-tied": (Qwen2Config(**BASE, tie_word_embeddings=True, rope_parameters=rope(1e6)), True),
    "qwen2-untied": (Qwen2Config(**BASE, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_parameters=rope(1e4)), False),
    "qwen2-yarn": (Qwen2Config(**BASE, tie_word_embeddings=True, rope_parameters=rope(
        1e4, rope_type="yarn", factor=4.0, original_max_position_embeddings=16)), True),
    "qwen3": (Qwen3Config(**BASE, head_dim=16, tie_word_embeddings=False, rope_parameters=rope(1e6)), False),
    "qwen3-tied": (Qwen3Config(**BASE, head_dim=12, tie_word_embeddings=True, rope_parameters=rope(
        1e4, rope_type="linear", factor=2.0)), True),
    "llama-tied": (LlamaConfig(**BASE, tie_word_embeddings=True, rms_norm_eps=1e-5, rope_parameters=rope(1e5)), True),
    "llama-scaled": (LlamaConfig(**BASE, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_parameters=rope(
        5e5, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32)), False),
    "llama-bias": (LlamaConfig(**BASE, tie_word_embeddings=True, attention_bias=True, mlp_bias=True,
                               rope_parameters=rope(1e4)), True),
    # The original context beside the scaling, where older files have it: there it counts, not max_position_embeddings.
    "qwen2-yarn-top": (Qwen2Config(**BASE, tie_word_embeddings=True, original_max_position_embeddings=16,
                                   rope_parameters=rope(1e4, rope_type="yarn", factor=4.0)), True),
}

PROMPTS = [
    [("user", "What is 17 + 25? Explain step by step.")],
    [("system", "You answer in one short paragraph."), ("user", "What is photosynthesis?")],
    [("user", "Explain what a prime number is.")],
]
SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def old_spelling(path, context_on_top):
    """As transformers before 5 wrote it: rope_theta and rope_scaling on top, torch_dtype."""
    with open(path) as f:
        config = json.load(f)
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    if context_on_top:
        del config["rope_scaling"]["original_max_position_embeddings"]
    config["torch_dtype"] = config.pop("dtype")
    with open(path, "w") as f:
        f.write(json.dumps(config, indent=2, sort_keys=True) + "\n")


def record_tiny(name, config, old, seed):
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith("norm.weight"):
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif key.endswith("bias"):
                p.copy_(0.3 * torch.randn_like(p))
    folder = os.path.join(HERE, name)
    model.save_pretrained(folder)
    extra = os.path.join(folder, "generation_config.json")
    if os.path.exists(extra):
        os.remove(extra)
    if old:
        old_spelling(os.path.join(folder, "config.json"), name.endswith("-top"))
    # What is recorded is what the files on disk give.
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    tokens = torch.randint(0, config.vocab_size, (2, TOKENS))
    logits = model(tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, config.vocab_size), tokens[:, 1:].reshape(-1))
    loss.backward()
    out = {"tokens": tokens, "logits": logits.detach().contiguous(), "loss": loss.detach().reshape(1)}
    for key, p in model.named_parameters():
        out["grad." + key] = p.grad.contiguous()
    save_file(out, os.path.join(folder, "golden.safetensors"))
    print(name, "loss", float(loss), "logit std", float(logits.std()))


def smollm2_prompts(tokenizer):
    # transformers builds this file's tokenizer without the step that cuts digits apart; put it back.
    from tokenizers import pre_tokenizers
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    for messages in PROMPTS:
        if messages[0][0] != "system":
            messages = [("system", SMOLLM2_SYSTEM)] + messages
        text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
        text += "<|im_start|>assistant\n"
        yield text, tokenizer(text, add_special_tokens=False)["input_ids"]


def record_smollm2(path):
    folder, file = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager")
    rows = []
    for text, ids in smollm2_prompts(tokenizer):
        new, margins, cache, feed = [], [], None, torch.tensor([ids])
        with torch.no_grad():
            while len(new) < 64 and (not new or new[-1] != 2):
                out = model(feed, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                top = out.logits[0, -1].topk(2)
                margins.append(round(float(top.values[0] - top.values[1]), 4))
                new.append(int(top.indices[0]))
                feed = torch.tensor([[new[-1]]])
        rows.append({"text": text, "prompt_ids": ids, "greedy_ids": new, "min_margin": min(margins),
                     "greedy_text": tokenizer.decode(new)})
        print(len(ids), len(new), min(margins), repr(rows[-1]["greedy_text"]))
    with open(os.path.join(HERE, "smollm2.json"), "w") as f:
        json.dump({"file": file, "transformers": transformers.__version__, "torch": torch.__version__, "prompts": rows},
                  f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert transformers.__version__ == "5.23.0" and torch.__version__.startswith("2.13.0")
    if sys.argv[1] == "tiny":
        for index, (name, (config, old)) in enumerate(CASES.items()):
            if len(sys.argv) == 2 or name in sys.argv[2:]:
                record_tiny(name, config, old, 100 + index)
    else:
        record_smollm2(sys.argv[2])
