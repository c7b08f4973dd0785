#!/usr/bin/env python3
"""Trains small SentencePiece models and records their ids and texts for the tests of core/text.

Recorded with sentencepiece 0.2.1 (0.2.3 breaks ties between unigram splits of equal score otherwise). Writes beside itself:
  sp_<name>.model     a model of a few hundred pieces, one for each set of features
  sp_<name>.ids.json  {rows: [{text, ids, plain, all, skip}], decodes: [{ids, text}]}: what the package does with
                      texts.nasty() (plain, all and skip so that the tests' common reader takes them: the package knows
                      no special tokens in text, and decodes control pieces to nothing), and with random ids
    record_sentencepiece.py
"""
import json
import os
import random
import tempfile

import sentencepiece

import texts

HERE = os.path.dirname(os.path.abspath(__file__))
# A normaliser's rules: full-width letters, a ligature, a no-break space, soft hyphens out.
RULES = [("\uff21", "A"), ("\uff42", "b"), ("\ufb01", "fi"), ("\u00a0", " "), ("\u00ad", ""), ("e\u0301", "\u00e9"), ("\u3000", " ")]
COMMON = {"hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2, "character_coverage": 0.98}
MODELS = {
    # As T5 and its kin: a normaliser, extra white space removed, characters it has never seen are <unk>.
    "unigram": {"model_type": "unigram", "vocab_size": 350, "user_defined_symbols": ["<sep>", "<|im_start|>", "17"],
                "control_symbols": ["<ctl>"], "pad_id": 3, "rules": RULES},
    # As Llama 2: no normaliser, all white space kept, bytes for what it has never seen.
    "bpe": {"model_type": "bpe", "vocab_size": 640, "byte_fallback": True, "split_digits": True, "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True, "user_defined_symbols": ["<sep>", "<think>"], "normalization_rule_name": "identity"},
    # Unigram with bytes, without the space in front.
    "bytes": {"model_type": "unigram", "vocab_size": 500, "byte_fallback": True, "add_dummy_prefix": False,
              "remove_extra_whitespaces": False, "user_defined_symbols": ["\u2581\u2581x"], "normalization_rule_name": "identity"},
}


def train(name, options):
    lines = ["The quick brown fox isn't lazy; don't say 'we'll' or THEY'RE 12 345 6789 times.", "def f(x):    return x", "hello hello world  17 + 25",
             "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u043f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \u3053\u3093\u306b\u3061\u306f \U0001f600 A b fi"] * 20
    lines += texts.mixed(1, 600).replace("\x00", "").splitlines()
    options = dict(options)
    rules = options.pop("rules", None)
    with tempfile.TemporaryDirectory() as folder:
        corpus = os.path.join(folder, "corpus.txt")
        with open(corpus, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines if line.strip())
        if rules:
            options["normalization_rule_tsv"] = os.path.join(folder, "rules.tsv")
            code = lambda text: " ".join(f"{ord(c):X}" for c in text)
            with open(options["normalization_rule_tsv"], "w", encoding="utf-8") as file:
                file.writelines(f"{code(a)}\t{code(b)}\n" for a, b in rules)
        sentencepiece.SentencePieceTrainer.train(input=corpus, model_prefix=os.path.join(folder, "m"), **COMMON, **options)
        with open(os.path.join(folder, "m.model"), "rb") as file:
            return file.read()


def outcomes(model):
    package = sentencepiece.SentencePieceProcessor(model_proto=model)
    rows = []
    for text in texts.nasty() + ["<s>a</s>", "<sep>", "a<sep> b<ctl>", "\uff21\uff42 \ufb01n\u00ad al", "  a   b  ", "\u2581x", "x\u2581\u2581x", "  x", "\U0001f6f8\u6f22"]:
        ids = package.encode(text)
        back = package.decode(ids)
        rows.append({"text": text, "ids": ids, "plain": ids, "all": back, "skip": back})
    rng = random.Random(3)
    decodes = []
    for _ in range(300):
        ids = [rng.randrange(package.get_piece_size()) for _ in range(rng.randint(0, 6))]
        if rng.random() < 0.4:
            ids = [rng.randrange(0, 12) for _ in range(rng.randint(0, 2))] + [package.piece_to_id("\u2581")] * rng.randint(0, 2) + ids
        decodes.append({"ids": ids, "text": package.decode(ids)})
    return {"rows": rows, "decodes": decodes}


def main():
    for name, options in MODELS.items():
        model = train(name, options)
        with open(os.path.join(HERE, f"sp_{name}.model"), "wb") as file:
            file.write(model)
        with open(os.path.join(HERE, f"sp_{name}.ids.json"), "w", encoding="utf-8") as file:
            json.dump(outcomes(model), file, ensure_ascii=True, separators=(",", ":"))
            file.write("\n")


if __name__ == "__main__":
    main()
