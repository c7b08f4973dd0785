#!/usr/bin/env python3
"""Writes a tokenizer.json of the Qwen family from the rank file qwen.tiktoken.

The rank file is inside the wheel dashscope 2.0.2 (dashscope/resources/qwen.tiktoken, 151,643 lines "base64 rank").
Merges are not in it, but follow from it: merging a token's bytes with lower ranks only ends in exactly two parts.

    make_qwen_tokenizer.py --wheel dashscope-2.0.2-py3-none-any.whl --output FOLDER/tokenizer.json
    make_qwen_tokenizer.py --output FOLDER/tokenizer.json        # from an installed dashscope
"""
import argparse
import base64
import importlib.util
import json
import os
import zipfile

MEMBER = "dashscope/resources/qwen.tiktoken"
# Added tokens of Qwen3 by id from 151643 on; only the first 14 are special.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
         "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")


def read_ranks(wheel):
    if wheel:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    else:
        spec = importlib.util.find_spec("dashscope")
        if spec is None:
            raise SystemExit("dashscope is not installed: pass --wheel dashscope-2.0.2-py3-none-any.whl")
        with open(os.path.join(os.path.dirname(spec.origin), "resources", "qwen.tiktoken"), "rb") as file:
            data = file.read()
    ranks = {}
    for line in data.splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return ranks


def split_token(token, rank, ranks):
    """The two parts whose merge makes `token`: merge by rank as long as a rank below its own exists."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while True:
        best = None
        for i in range(len(parts) - 1):
            found = ranks.get(parts[i] + parts[i + 1])
            if found is not None and found < rank and (best is None or found < best[0]):
                best = (found, i)
        if best is None:
            break
        i = best[1]
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    assert len(parts) == 2, (token, parts)
    return parts


def byte_spelling():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    spelling, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            spelling[byte] = chr(byte)
        else:
            spelling[byte] = chr(256 + extra)
            extra += 1
    return spelling


def build(ranks):
    spelling = byte_spelling()
    spell = lambda data: "".join(spelling[b] for b in data)
    vocab = {spell(token): rank for token, rank in ranks.items()}
    merges = [[spell(part) for part in split_token(token, rank, ranks)]
              for token, rank in sorted(ranks.items(), key=lambda item: item[1]) if len(token) > 1]
    added = [{"id": len(ranks) + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": i < len(SPECIAL)} for i, content in enumerate(SPECIAL + PLAIN)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    with open(args.output, "w", encoding="utf-8") as file:
        json.dump(build(read_ranks(args.wheel)), file, ensure_ascii=False)


if __name__ == "__main__":
    main()
