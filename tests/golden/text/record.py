#!/usr/bin/env python3
"""Records ids and texts of Hugging Face tokenizers for the tests of core/text.

Recorded with tokenizers 0.23.3, gguf 0.19.0. Writes beside itself:
  small_<name>.json       a tokenizer.json of about 600 tokens, trained here, one for each set of features
  small_<name>.ids.json   what tokenizers does with texts.nasty(): [{text, ids, plain, all, skip}], where
                          ids: encode; plain: without special tokens parsed or added; all, skip: decode(ids)
  smollm2.ids.json        the same for the vocabulary of SmolLM2-135M-Instruct (GGUF), without plain
    record.py --gguf models/SmolLM2-135M-Instruct.Q4_1.gguf
"""
import argparse
import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import texts

HERE = os.path.dirname(os.path.abspath(__file__))
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
              r"|\s+(?!\S)|\s+")
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def trained(pre_tokenizer, normalizer=None, all_bytes=True, unk=None, extra_text=""):
    tokenizer = Tokenizer(models.BPE(unk_token=unk, fuse_unk=unk is not None))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, special_tokens=[unk] if unk else [],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if all_bytes else [])
    lines = ["The quick brown fox isn't lazy; don't say 'we'll' or THEY'RE 12 345 6789 times.  def f(x):\n    return x\n",
             "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u043f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \u3053\u3093\u306b\u3061\u306f \U0001f600 hello world hello\n\n\n", extra_text]
    tokenizer.train_from_iterator(lines * 3 + [texts.mixed(1, 6000)], trainer)
    return tokenizer


def split(regex, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(regex), behavior, invert=invert)


def sequence(*steps, prefix_space=False, use_regex=False):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=use_regex)])


def qwen():
    tokenizer = trained(sequence(split(QWEN)), normalizers.NFC())
    tokenizer.add_special_tokens(CHAT)
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ("<think>", "</think>")])
    return tokenizer


def llama3():
    tokenizer = trained(sequence(split(LLAMA3)))
    tokenizer.add_special_tokens(CHAT)
    bos = tokenizer.token_to_id("<|im_start|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>",
                                      special_tokens=[("<|im_start|>", bos), ("<|im_end|>", bos + 1)])])
    data = json.loads(tokenizer.to_str())
    data["model"]["ignore_merges"] = True
    # Whole words that no merge makes: only ignore_merges finds them.
    for added in data["added_tokens"]:
        added["id"] += 2
    for special in data["post_processor"]["processors"][1]["special_tokens"].values():
        special["ids"] = [i + 2 for i in special["ids"]]
    size = len(data["model"]["vocab"])
    data["model"]["vocab"].update({"\u0120user": size, "xxxxxxxx": size + 1})
    return Tokenizer.from_str(json.dumps(data))


def smollm():
    tokenizer = trained(sequence(pre_tokenizers.Digits(individual_digits=True), use_regex=True))
    tokenizer.add_special_tokens(CHAT)
    return tokenizer


def gpt2():
    """Prefix space, bytes missing from the vocabulary, fused unknowns, merges in the old spelling."""
    tokenizer = trained(pre_tokenizers.ByteLevel(add_prefix_space=True), all_bytes=False, unk="<unk>")
    tokenizer.add_special_tokens(CHAT)
    data = json.loads(tokenizer.to_str())
    for byte in ("\u0104", "\u0106", "\u0100", "\u00e1"):
        if byte in data["model"]["vocab"] and not any(byte in t for t in data["model"]["vocab"] if t != byte):
            raise SystemExit("vocabulary has a byte that should be missing; choose others")
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return Tokenizer.from_str(json.dumps(data))


def added():
    tokenizer = trained(sequence(split(QWEN)), normalizers.NFC())
    tokenizer.add_tokens([AddedToken("hello", single_word=True, normalized=False),
                          AddedToken("<|im_end|>", rstrip=True, normalized=False),
                          AddedToken("<think>", lstrip=True, rstrip=True, normalized=False),
                          AddedToken("e\u0301 \u00e9", normalized=True), AddedToken("caf\u00e9", normalized=True),
                          AddedToken("a ", normalized=True, rstrip=True)])
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", lstrip=True, normalized=False),
                                  AddedToken("<|im_start|>user", normalized=False), AddedToken("17", normalized=True)])
    return tokenizer


def regex():
    """Expressions without a scanner of their own, digits in runs."""
    return trained(sequence(split(r"\p{N}{1,2}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                            split(r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
                                  r"|\s*[\r\n]+|\s+(?!\S)|\s+"), pre_tokenizers.Digits(individual_digits=False)))


def possessive():
    return trained(sequence(split(POSSESSIVE, "removed", invert=True), prefix_space=True, use_regex=False))


SMALL = {"qwen": qwen, "llama3": llama3, "smollm": smollm, "gpt2": gpt2, "added": added, "regex": regex,
         "possessive": possessive}


def smollm2(path):
    """The original tokenizer: the GGUF's vocabulary and merges, and the Digits step that GGUF's `smollm` stands for."""
    import gguf
    fields = gguf.GGUFReader(path).fields
    read = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens = read("tokens")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], "special": kind == 3, **flags}
                         for i, kind in enumerate(read("token_type")) if kind in (3, 4)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": [merge.split(" ") for merge in read("merges")]}}))


def outcomes(tokenizer, with_plain):
    rows = []
    for text in texts.nasty():
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text).ids
        row = {"text": text, "ids": ids, "all": tokenizer.decode(ids, skip_special_tokens=False),
               "skip": tokenizer.decode(ids, skip_special_tokens=True)}
        if with_plain:
            tokenizer.encode_special_tokens = True
            row["plain"] = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append(row)
    return rows


def write(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True)
    args = parser.parse_args()
    for name, make in SMALL.items():
        tokenizer = make()
        write(f"small_{name}.json", json.loads(tokenizer.to_str()))
        write(f"small_{name}.ids.json", outcomes(tokenizer, with_plain=True))
    write("smollm2.ids.json", outcomes(smollm2(args.gguf), with_plain=False))


if __name__ == "__main__":
    main()
