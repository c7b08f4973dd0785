"""Deterministic texts for tokenizer comparisons: about 1.2 MB of many scripts, code, digits, spaces, emoji, combining
marks, control characters, line ends and special tokens; and ~200 short nasty strings."""
import os
import random

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<repo_name>",
            "<|im_start", "|im_end|>", "<|im_start|><|im_end|>", "<empty_output>", "<file_sep>"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\u00a0", "\u0085", "\u180e", "\u1680", "\u2003",
          "\u2028", "\u2029", "\u200b", "\u202f", "\u205f", "\u3000", "\v", "\f", "        ", " \t ", "\r\n\r\n  ", "\ufeff"]
CONTRACTIONS = ["'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'m", "'M", "'ll", "'lL", "'d", "'\u017f", "\u2019s", "''s",
                "'sd", "'l", "'r", "'v", "'"]
SCRIPTS = [(0x41, 0x5a), (0x61, 0x7a), (0xc0, 0x17f), (0x180, 0x24f), (0x370, 0x3ff), (0x400, 0x52f), (0x531, 0x587),
           (0x5d0, 0x5ea), (0x620, 0x6d3), (0x904, 0x939), (0x93a, 0x94f), (0x985, 0x9cd), (0xe01, 0xe5b), (0x10a0, 0x10ff),
           (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x3041, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x20000, 0x2a6df),
           (0x1d400, 0x1d7ff), (0xf900, 0xfaff), (0x13000, 0x1342f)]
NUMBERS = ["0", "7", "42", "1234567", "3.14", "1,000", "0x1F", "\u0663\u0664", "\u0967", "\u00b2", "\u00bd", "\u2167", "\u2460", "\u3007",
           "\U0001d7ce", "  17", "x  12", "12  x", "\u4e00"]
MARKS = ["\u0301", "\u0300", "\u0323", "\u0302\u0301", "\u0327", "\u0308", "\u3099", "\u309a", "\u093c", "\u0345", "\u20e3", "\u0338"]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2603"]
PUNCTUATION = list("!\"#$%&()*+,-./:;<=>?@[]^_`{|}~\\") + ["...", "->", "::", "==", "//", "/*", "\u2026", "\u00ab", "\u3002", "\u00a9", "\u20ac"]
SINGLETONS = ["\u212b", "\u2126", "\u0374", "\u037e", "\u0387", "\u1f71", "\u2329", "\uf900", "\u0958", "\u2adc", "\u1e0a\u0323", "q\u0307\u0323"]


def word(rng):
    first, last = SCRIPTS[rng.randrange(len(SCRIPTS))]
    return "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 9)))


def any_character(rng):
    while True:
        value = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0x20000), rng.randrange(0x110000)])
        if not 0xd800 <= value < 0xe000:
            return chr(value)


def fragment(rng):
    kind = rng.randrange(14)
    if kind < 4:
        return word(rng)
    if kind == 4:
        return word(rng) + rng.choice(CONTRACTIONS) + word(rng)
    if kind == 5:
        return "".join(rng.choice("aeionuAEc") + rng.choice(MARKS + [""]) for _ in range(rng.randint(1, 5)))
    tables = {6: NUMBERS, 7: EMOJI, 8: PUNCTUATION, 9: SPACES, 10: SINGLETONS, 11: SPECIALS}
    if kind in tables:
        return rng.choice(tables[kind])
    if kind == 12:
        return any_character(rng)
    return chr(rng.randrange(32)) if rng.random() < 0.3 else rng.choice(SPACES) * rng.randint(1, 4)


def mixed(seed, size):
    rng = random.Random(seed)
    parts, length = [], 0
    while length < size:
        piece = fragment(rng) + (rng.choice(SPACES) if rng.random() < 0.3 else " " if rng.random() < 0.6 else "")
        parts.append(piece)
        length += len(piece.encode("utf-8"))
    return "".join(parts)


def tree_texts(root):
    """The project's own sources: real prose and code. Sorted, so that one commit gives one text."""
    for folder in ("core", "tests", "plugins", "sdk"):
        for where, folders, names in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".cc", ".h", ".md", ".py", ".txt", ".toml")):
                    with open(os.path.join(where, name), encoding="utf-8", errors="replace", newline="") as file:
                        yield file.read()


def corpus(root):
    """At least 1.2 MB in chunks of about 4 KB and some long ones; the first 800 KB don't depend on the tree."""
    texts = [mixed(seed, 4096) for seed in range(180)] + [mixed(1000, 65536)]
    texts += ["a" * 20000, " " * 20000, "\n" * 5000, "ab" * 10000, "!" * 9999, "1" * 3000, "\u0301" * 2000, "e\u0301" * 3000]
    size, index = 0, 0
    tree = "".join(tree_texts(root))
    while size < 400000 and index < len(tree):
        texts.append(tree[index:index + 4096])
        size += len(texts[-1].encode("utf-8"))
        index += 4096
    total = sum(len(text.encode("utf-8")) for text in texts)
    seed = 2000
    while total < 1200000:
        texts.append(mixed(seed, 4096))
        total += len(texts[-1].encode("utf-8"))
        seed += 1
    return texts


def nasty():
    rng = random.Random(5)
    fixed = ["", " ", "  ", "a", " a", "a  17", "x  12", "17 + 25", "can't CAN'T", "I'LL he'll", "\n", "\r\n", "\n\n  x", "a\n ",
             "a \n", " \n \n x", "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|> <|im_end|>", "hello<|endoftext|>", "e\u0301 \u00e9",
             "\u1100\u1161\u11a8", "\u212b", "\x00", "\x04\x06", "a\x00b", "\ufeffBOM", "\u3042\u3099", "tab\there", "x" * 300, " " * 65 + "x",
             "123456789012", "\u0663\u0664\u0665", "\u00b2\u00b3", "\u2167 \u2460", "\U0001f468\u200d\U0001f469", "def f(x):\n    return x  # ok\n", "'s", " 's",
             "'\u017fa", "a'\u017f", "\u00a0x", "x\u00a0", "\u3000x", "\u180ex", "\u0085x", "...!!!\n\n", " ...", "  ...", "<think>\nx</think>",
             "<|im_star", "<<|im_end|>>", "\u0958", "q\u0307\u0323", "https://a.b/c?d=e&f=1", "C++20", "\U000105c0\u1c89", "\U00011de0"]
    return fixed + [mixed(9000 + i, rng.randint(5, 60)) for i in range(150)]
