"""Tokenizers of today: tokenizer_peers.py tiktoken|tokenizers|pyrwkv|rwkv TOKENIZER TEXTS encode|decode -> one JSON line, as bench_tokenizer's."""
import array
import hashlib
import json
import sys
import time

peer, tokenizer_file, texts_file, what = sys.argv[1:]
texts = [json.loads(line) for line in open(texts_file, encoding="utf-8")]
size = sum(len(text.encode()) for text in texts)


def qwen_by_tiktoken():
    """Qwen's vocabulary: ranks are ids, and the pattern is the one of the tokenizer.json."""
    import tiktoken
    with open(tokenizer_file, encoding="utf-8") as file:
        parts = json.load(file)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(byte): byte for byte in printable}
    byte_of |= {chr(256 + i): byte for i, byte in enumerate(sorted(set(range(256)) - set(printable)))}
    ranks = {bytes(byte_of[c] for c in token): rank for token, rank in parts["model"]["vocab"].items()}
    pattern = parts["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    encoding = tiktoken.Encoding("qwen", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary, encoding.decode


def by_tokenizers():
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(tokenizer_file)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids, lambda ids: tokenizer.decode(ids, skip_special_tokens=False)


def by_pyrwkv():
    """The vocabulary inside the package, which is the same but for its line ends."""
    from pyrwkv_tokenizer import RWKVTokenizer
    tokenizer = RWKVTokenizer()
    return tokenizer.encode, tokenizer.decode


def by_rwkv():
    from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
    tokenizer = TRIE_TOKENIZER(tokenizer_file)
    return tokenizer.encode, tokenizer.decode


MAKERS = {"tiktoken": qwen_by_tiktoken, "tokenizers": by_tokenizers, "pyrwkv": by_pyrwkv, "rwkv": by_rwkv}
best, load = float("inf"), float("inf")
for _ in range(1 if what == "decode" else 3):  # each pass by a tokenizer made anew: it has seen none of the text before
    begin = time.perf_counter()
    encode, decode = MAKERS[peer]()
    encode("x")
    load = min(load, time.perf_counter() - begin)
    begin = time.perf_counter()
    ids = [encode(text) for text in texts]
    if what == "encode":
        best = min(best, time.perf_counter() - begin)
for _ in range(10 if what == "decode" else 0):
    begin = time.perf_counter()
    back = [decode(one) for one in ids]
    best = min(best, time.perf_counter() - begin)
result = "".join(back).encode() if what == "decode" else array.array("i", (i for one in ids for i in one)).tobytes()
print(json.dumps({"mb_per_s": size / best / 1e6, "load_s": load, "tokens": sum(map(len, ids)), "sha256": hashlib.sha256(result).hexdigest()}))
