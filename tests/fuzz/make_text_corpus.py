"""Writes the corpora of world_vocabulary and sentencepiece: small valid files, and hostile ones.

    python3 tests/fuzz/make_text_corpus.py      (standard library only; the files are the same every time)
"""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def put(folder, name, data):
    path = CORPUS / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)


SINGLE = [repr(bytes([byte])) for byte in range(256)]
MORE = [("'ab'", 2), ("'abc'", 3), ("\"it's\"", 4), ("b'\\xe4\\xb8'", 2), ("'\\u200b'", 3), ("'\\n\\n'", 2), ("'\u4e2d'", 3), ("'      '", 6)]


def numbered(more=MORE, end="\n", single=SINGLE):
    lines = [(literal, 1) for literal in single] + list(more)
    return "".join(f"{i} {literal} {size}{end}" for i, (literal, size) in enumerate(lines, 1)).encode()


def make_world():
    put("world_vocabulary", "numbered", numbered())
    put("world_vocabulary", "numbered_crlf", numbered(end="\r\n"))
    put("world_vocabulary", "bare", "\n".join(["b'<s>'"] + SINGLE + [literal for literal, _ in MORE]).encode())
    put("world_vocabulary", "byte_missing", numbered(single=SINGLE[:-1]))
    put("world_vocabulary", "hole", b"1 'a' 1\n3 'b' 1\n")
    put("world_vocabulary", "id_huge", b"99999999999999999999 'a' 1\n")
    put("world_vocabulary", "length_lies", b"1 'a' 4294967297\n")
    put("world_vocabulary", "escape_cut", b"1 '\\x4' 1\n")
    put("world_vocabulary", "quotes", b"1 ''' 1\n")
    put("world_vocabulary", "one_line", b"1 'a' 1")
    put("world_vocabulary", "empty", b"")
    put("world_vocabulary", "other_text", b"[PAD]\n[UNK]\nthe\n")


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    if isinstance(content, bytes):
        return varint(number << 3 | 2) + varint(len(content)) + content
    return varint(number << 3 | 5) + struct.pack("<f", content) if isinstance(content, float) else varint(number << 3) + varint(content)


def piece(text, score=-1.0, kind=1):
    return field(1, field(1, text.encode() if isinstance(text, str) else text) + field(2, score) + field(3, kind))


UNK = piece("<unk>", 0.0, 2)
WORDS = [("\u2581", -3.0), ("\u2581a", -2.0), ("a", -4.0), ("b", -4.5), ("ab", -3.5), ("hello", -5.0), ("l", -6.0), ("h", -6.5), ("he", -4.0), ("ll", -5.0)]
PLAIN = b"".join(piece(text, score) for text, score in WORDS)
BYTES = b"".join(piece(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256))


def table(units, texts):
    """A normaliser's rules: {place: (label, offset, has_leaf)} or {place: value of a leaf}, in 256 units."""
    array = [0] * 256
    for place, unit in units.items():
        array[place] = 1 << 31 | unit if isinstance(unit, int) else unit[0] | unit[2] << 8 | unit[1] << 10
    blob = struct.pack("<256I", *array)
    return field(3, field(2, struct.pack("<I", len(blob)) + blob + texts))


# The root's children stand at 1 ^ byte; "a" (0x61) at 0x60, whose children stand at 0x60 ^ 2 = 0x62: the leaf.
RULE = {0: (0, 1, 0), 0x60: (0x61, 2, 1), 0x62: 0}


def make_sentencepiece():
    put("sentencepiece", "unigram", UNK + piece("<s>", 0.0, 3) + piece("<sep>", 0.0, 4) + PLAIN + field(2, field(3, 1)))
    put("sentencepiece", "bpe", UNK + PLAIN + field(2, field(3, 2)) + field(3, field(3, 1) + field(4, 0)))
    put("sentencepiece", "bytes", UNK + PLAIN + BYTES + field(2, field(3, 1) + field(35, 1) + field(44, b"?")))
    put("sentencepiece", "rules", UNK + PLAIN + table(RULE, b"b\0"))
    put("sentencepiece", "rules_offset_leaves", UNK + PLAIN + table({0: (0, 256, 0)}, b"b\0"))
    put("sentencepiece", "rules_offset_far", UNK + PLAIN + table({0: (1 << 9, (1 << 21) - 1, 0)}, b"b\0"))
    put("sentencepiece", "rules_leaf_leaves", UNK + PLAIN + table({**RULE, 0x62: 2}, b"b\0"))
    put("sentencepiece", "rules_no_end", UNK + PLAIN + table(RULE, b"bb"))
    put("sentencepiece", "rules_size_huge", UNK + PLAIN + field(3, field(2, struct.pack("<I", 2**32 - 4) + bytes(1024))))
    put("sentencepiece", "score_nan", UNK + piece("a", float("nan")))
    put("sentencepiece", "score_huge", UNK + piece("a", 3e38) + piece("b", -3e38))
    put("sentencepiece", "control_character", UNK + piece("\u2581", 0.0, 3) + PLAIN[len(piece(*WORDS[0])):] + field(2, field(3, 2)))
    put("sentencepiece", "piece_nul", UNK + piece(b"a\0b"))
    put("sentencepiece", "piece_twice", UNK + piece("a") + piece("a"))
    put("sentencepiece", "length_huge", b"\x0a" + varint(2**63))
    put("sentencepiece", "varint_long", b"\xff" * 20)
    put("sentencepiece", "groups", b"\x0b\x0c")
    put("sentencepiece", "no_pieces", field(2, field(3, 1)))
    put("sentencepiece", "empty", b"")


if __name__ == "__main__":
    make_world()
    make_sentencepiece()
