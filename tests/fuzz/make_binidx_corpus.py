"""Writes the corpus of binidx: pairs of files in one (the length of the .idx file, that file, the .bin file), good and
hostile.

    python3 tests/fuzz/make_binidx_corpus.py      (standard library only; the files are the same every time)
"""

import itertools
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "binidx"
WIDTH = {8: ("H", 2), 4: ("i", 4)}


def pair(name, items, code=8, documents=None, magic=b"MMIDIDX\0\0", version=1, counts=None, pointers=None, sizes=None, cut=None, more=b""):
    letter, width = WIDTH.get(code, WIDTH[8])
    sizes = [len(item) for item in items] if sizes is None else sizes
    pointers = list(itertools.accumulate([len(item) * width for item in items], initial=0))[:-1] if pointers is None else pointers
    documents = list(range(len(items) + 1)) if documents is None else documents
    idx = magic + struct.pack("<QBQQ", version, code, *(counts or (len(items), len(documents))))
    idx += struct.pack(f"<{len(sizes)}i{len(pointers)}q{len(documents)}q", *sizes, *pointers, *documents)
    idx = idx[:cut]
    tokens = list(itertools.chain(*items))
    CORPUS.mkdir(parents=True, exist_ok=True)
    (CORPUS / name).write_bytes(struct.pack("<I", len(idx)) + idx + struct.pack(f"<{len(tokens)}{letter}", *tokens) + more)


TEXT = [[5, 9, 0], [65535, 0], [0]]

if __name__ == "__main__":
    pair("u16", TEXT)
    pair("i32", [[70000, 0], [], [1, 2, 0]], code=4)
    pair("two_items_a_document", TEXT, documents=[0, 2, 2, 3])
    pair("no_documents", TEXT, documents=[0])
    pair("empty", [])
    pair("no_boundaries", [], documents=[])
    pair("magic", TEXT, magic=b"TNTIDX\0\0\0")
    pair("version", TEXT, version=2**63)
    pair("float_tokens", TEXT, code=6)
    pair("items_huge", TEXT, counts=(2**62, 4))
    pair("boundaries_huge", TEXT, counts=(3, 2**61))
    pair("counts_wrap", TEXT, counts=(2**64 // 12 + 1, 4))
    pair("header_cut", TEXT, cut=20)
    pair("arrays_cut", TEXT, cut=60)
    pair("size_negative", TEXT, sizes=[3, -2, 1])
    pair("size_huge", TEXT, sizes=[2**31 - 1] * 3)
    pair("pointer_negative", TEXT, pointers=[-6, 0, 4])
    pair("pointer_odd", TEXT, pointers=[0, 5, 10])
    pair("pointer_far", TEXT, pointers=[0, 2**62, 10])
    pair("pointers_overlap", TEXT, pointers=[0, 0, 0])
    pair("boundary_back", TEXT, documents=[0, 3, 1, 3])
    pair("boundary_far", TEXT, documents=[0, 2**62])
    pair("boundary_negative", TEXT, documents=[0, -1])
    pair("bin_longer", TEXT, more=b"x")
