"""Writes the corpora of safetensors, gguf and event_file: small valid files, and hostile ones whose headers lie.

    python3 tests/fuzz/make_corpus.py      (standard library only; the files are the same every time)
"""

import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def put(folder, name, data):
    path = CORPUS / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(data)


def safetensors(header, data=b"", length=None, pad=True):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    two = {"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 1], 0, 8), "b": entry("BF16", [3], 8, 14)}
    put("safetensors", "two_tensors", safetensors(two, bytes(range(14))))
    put("safetensors", "scalar_and_empty", safetensors({"s": entry("I64", [], 0, 8), "e": entry("U8", [0, 4], 8, 8)}, bytes(8)))
    put("safetensors", "no_tensors", safetensors({}))
    put("safetensors", "index.json", json.dumps({"metadata": {"total_size": 14}, "weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}).encode())
    put("safetensors", "index_leaves_folder.json", json.dumps({"weight_map": {"a": "../../x"}}).encode())
    put("safetensors", "length_huge", safetensors({}, length=2**63))
    put("safetensors", "length_past_end", safetensors({}, length=100))
    put("safetensors", "overlap", safetensors({"a": entry("U8", [8], 0, 8), "b": entry("U8", [8], 4, 12)}, bytes(12)))
    put("safetensors", "shape_overflow", safetensors({"a": entry("F64", [2**32, 2**32, 2**32], 0, 8)}, bytes(8)))
    put("safetensors", "offsets_reversed", safetensors({"a": entry("U8", [8], 8, 0)}, bytes(8)))
    put("safetensors", "same_name_twice", safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', bytes(1)))
    put("safetensors", "deep", safetensors(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"))
    put("safetensors", "not_utf8", safetensors(b'{"\xff\xfe":1}'))


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf(entries, tensors, data=b"", version=3, counts=None):
    n_tensors, n_entries = counts or (len(tensors), len(entries))
    out = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_entries)
    for key, kind, value in entries:
        out += text(key) + struct.pack("<I", kind) + value
    for name, sizes, kind, offset in tensors:
        out += text(name) + struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes) + struct.pack("<IQ", kind, offset)
    return out + b"\0" * (-len(out) % 32) + data


def array(kind, count, data):
    return struct.pack("<IQ", kind, count) + data


def make_gguf():
    entries = [("general.architecture", 8, text("llama")), ("u8", 0, b"\x07"), ("i16", 3, struct.pack("<h", -3)),
               ("eps", 6, struct.pack("<f", 1e-5)), ("flag", 7, b"\x01"), ("big", 10, struct.pack("<Q", 2**63)),
               ("tokens", 9, array(8, 2, text("a") + text("bc"))), ("nested", 9, array(9, 1, array(5, 2, struct.pack("<ii", 1, -1))))]
    tensors = [("f32", [3], 0, 0), ("q8", [32, 2], 8, 32), ("q41", [32], 3, 128), ("q40", [32], 2, 160), ("f16", [2], 1, 192), ("bf16", [2], 30, 224), ("k", [256], 12, 256)]
    data = bytes((7 * i) % 256 for i in range(400))
    put("gguf", "all_types", gguf(entries, tensors, data))
    put("gguf", "version_2_empty", gguf([], [], version=2))
    put("gguf", "alignment_64", gguf([("general.alignment", 4, struct.pack("<I", 64))], [("w", [1], 0, 64)], bytes(200)))
    put("gguf", "alignment_0", gguf([("general.alignment", 4, struct.pack("<I", 0))], [("w", [1], 0, 0)], bytes(64)))
    put("gguf", "count_huge", gguf([], [], counts=(0, 2**60)))
    put("gguf", "tensors_huge", gguf([], [], counts=(2**60, 0)))
    put("gguf", "string_huge", gguf([("k", 8, struct.pack("<Q", 2**62))], []))
    put("gguf", "array_huge", gguf([("k", 9, array(0, 2**61, b""))], []))
    put("gguf", "array_deep", gguf([("k", 9, b"".join(array(9, 1, b"") for _ in range(64)))], []))
    put("gguf", "shape_overflow", gguf([], [("w", [2**40, 2**40], 0, 0)], bytes(64)))
    put("gguf", "offset_past_end", gguf([], [("w", [4], 0, 2**62)], bytes(64)))
    put("gguf", "rows_empty", gguf([], [("w", [0, 2**40], 8, 0)], bytes(64)))
    put("gguf", "type_unknown", gguf([], [("w", [4], 77, 0)], bytes(64)))
    put("gguf", "split", gguf([("split.count", 2, struct.pack("<H", 2))], []))
    put("gguf", "big_endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(event):
    length = struct.pack("<Q", len(event))
    return length + struct.pack("<I", crc32c(length)) + event + struct.pack("<I", crc32c(event))


def make_events():
    version = b"\x09" + struct.pack("<d", 1.5) + b"\x1a\x0dbrain.Event:2"
    scalar = b"\x0a\x01x\x15" + struct.pack("<f", 0.5)
    event = b"\x09" + struct.pack("<d", 2.5) + b"\x10\x07\x2a" + bytes([len(scalar) + 2, 0x0A, len(scalar)]) + scalar
    put("event_file", "version_and_scalar", record(version) + record(event))
    put("event_file", "torn", record(version) + record(event)[:-3])
    put("event_file", "empty", b"")
    put("event_file", "empty_event", record(b""))
    put("event_file", "inner_length_lies", record(b"\x2a\x7f\x0a"))
    put("event_file", "varint_too_long", record(b"\x10" + b"\xff" * 11))
    huge = struct.pack("<Q", 2**63)
    put("event_file", "length_huge", huge + struct.pack("<I", crc32c(huge)) + b"data")


if __name__ == "__main__":
    make_safetensors()
    make_gguf()
    make_events()
