"""Writes the corpora of elf_note and reward_reply: small valid inputs, and hostile ones.

    python3 tests/fuzz/make_plugin_corpus.py      (standard library only; the files are the same every time)
"""

import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def put(folder, name, data):
    path = CORPUS / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)


def note(name, content, kind=1, name_size=None, content_size=None, align=4):
    pad = lambda data: data + b"\0" * (-len(data) % align)
    head = struct.pack("<III", len(name) if name_size is None else name_size, len(content) if content_size is None else content_size, kind)
    return head + pad(name) + pad(content)


def elf(notes, segments=None, magic=b"\x7fELF", bits=2, kind=3, entry_size=56, count=None, offset=64):
    segments = [(4, 64 + 56, len(notes), 4)] if segments is None else segments
    table = b"".join(struct.pack("<IIQQQQQQ", t, 4, at, 0, 0, size, size, align) for t, at, size, align in segments)
    header = magic + bytes([bits, 1, 1]) + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, offset, 0, 0, 64, entry_size, len(segments) if count is None else count, 64, 0, 0)
    return header + table + notes


TAG = note(b"volery\0", b"sdk=0.1.0 compiler=gcc-12")
put("elf_note", "tagged", elf(TAG))
put("elf_note", "second_note", elf(note(b"GNU\0", b"\x01" * 20, kind=3) + TAG))
put("elf_note", "no_notes", elf(b"", segments=[]))
put("elf_note", "other_name", elf(note(b"walnut\0", b"x")))
put("elf_note", "align_8", elf(note(b"GNU\0", b"\2" * 12, kind=5, align=8), segments=[(4, 120, 32, 8)]))
put("elf_note", "content_past_end", elf(note(b"volery\0", b"abc", content_size=0xFFFFFFFF)))
put("elf_note", "name_past_end", elf(note(b"volery\0", b"abc", name_size=0xFFFFFFFE)))
put("elf_note", "segment_past_end", elf(TAG, segments=[(4, 120, 1 << 40, 4)]))
put("elf_note", "segment_wraps", elf(TAG, segments=[(4, 0xFFFFFFFFFFFFFFF0, 64, 4)]))
put("elf_note", "table_past_end", elf(TAG, count=0xFFFF))
put("elf_note", "table_wraps", elf(TAG, offset=0xFFFFFFFFFFFFFFC0))
put("elf_note", "entry_size", elf(TAG, entry_size=1))
put("elf_note", "bits_32", elf(TAG, bits=1))
put("elf_note", "executable", elf(TAG, kind=2))
put("elf_note", "text", b"#!/bin/sh\nexit 0\n")
put("elf_note", "header_cut", elf(TAG)[:40])


def text(value):
    return struct.pack("<Q", len(value)) + value


def result(status=0, score=1.0, components=((b"length", 3.0),)):
    out = struct.pack("<Bdd", status, score, 0.5) + text(b"") + struct.pack("<Q", len(components))
    return out + b"".join(text(n) + struct.pack("<d", v) for n, v in components)


METRICS = struct.pack("<Q", 1) + text(b"seen") + struct.pack("<dQ", 2.0, 2)
put("reward_reply", "one", struct.pack("<Q", 1) + result() + METRICS)
put("reward_reply", "two", struct.pack("<Q", 2) + result() + result(2, 0.0, ()) + struct.pack("<Q", 0))
put("reward_reply", "empty", b"")
put("reward_reply", "status_out_of_range", struct.pack("<Q", 1) + result(status=9) + METRICS)
put("reward_reply", "score_nan", struct.pack("<Q", 1) + result(score=float("nan")) + METRICS)
put("reward_reply", "count_huge", struct.pack("<Q", 2**63))
put("reward_reply", "text_huge", struct.pack("<Q", 1) + struct.pack("<Bdd", 0, 1.0, 0.5) + struct.pack("<Q", 2**64 - 1))
put("reward_reply", "trailing", struct.pack("<Q", 1) + result() + METRICS + b"x")
