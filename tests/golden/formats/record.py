"""Records what the systems that define the formats write and read; the C++ tests compare with these files.

    .deps/venv/bin/python tests/golden/formats/record.py [models/SmolLM2-135M-Instruct.Q4_1.gguf]

Recorded with gguf 0.19.0, safetensors 0.8.0, torch 2.13.0, tensorboard 2.21.0, pyarrow 26.0.1, numpy 2.4.6.
"""

import datetime
import hashlib
import json
import pathlib
import sys

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import safetensors.torch
import torch
from gguf.quants import dequantize
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = pathlib.Path(__file__).resolve().parent
TYPES = gguf.GGMLQuantizationType
HASHED = ["token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_norm.weight", "blk.7.ffn_down.weight",
          "blk.15.attn_k.weight", "blk.29.ffn_gate.weight", "output_norm.weight"]


def random_blocks(rng, kind, rows, blocks):
    """Raw bytes of rows of blocks; scales are finite halves of every size, subnormals and both zeros among them."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    data = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    halves = rng.integers(0, 0x7C00, (rows, blocks, 2), dtype=np.uint16) | (rng.integers(0, 2, (rows, blocks, 2)) << 15).astype(np.uint16)
    halves[0, 0] = [0x0001, 0x8000]
    halves[0, 1] = [0x83FF, 0x7BFF]
    scales = 2 if kind == TYPES.Q4_1 else 1
    data[:, :, : 2 * scales] = halves[:, :, :scales].copy().view(np.uint8)
    return data.reshape(rows, blocks * size)


def record_gguf():
    rng = np.random.default_rng(20250611)
    writer = gguf.GGUFWriter(HERE / "types.gguf", "llama")
    writer.add_block_count(2)
    for name, value in [("uint8", 200), ("int8", -100), ("uint16", 60000), ("int16", -30000), ("uint32", 4000000000),
                        ("int32", -2000000000), ("uint64", 2**60), ("int64", -(2**60)), ("float32", 0.1), ("float64", 0.1),
                        ("bool", True), ("string", "caf\u00e9")]:
        getattr(writer, "add_" + name)("test." + name, value)
    writer.add_array("test.strings", ["a", "", "\u4e2d"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])
    plain = rng.standard_normal((3, 40)).astype(np.float32)
    half = rng.integers(0, 0x7C00, (2, 64), dtype=np.uint16)
    half[0, :4] = [0x0001, 0x8001, 0x03FF, 0x8000]
    brain = rng.integers(0, 0x7F80, (2, 48), dtype=np.uint16)
    expected = {"f32": plain, "f16": dequantize(half.view(np.float16), TYPES.F16), "bf16": dequantize(brain.view(np.uint8), TYPES.BF16)}
    writer.add_tensor("f32", plain)
    writer.add_tensor("f16", half.view(np.float16))
    writer.add_tensor("bf16", brain.view(np.uint8), raw_dtype=TYPES.BF16)
    for kind in [TYPES.Q8_0, TYPES.Q4_0, TYPES.Q4_1]:
        raw = random_blocks(rng, kind, 5, 8)
        with np.errstate(over="ignore"):
            expected[kind.name.lower()] = dequantize(raw, kind)
        writer.add_tensor(kind.name.lower(), raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    safetensors.numpy.save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in expected.items()}, HERE / "types.safetensors")


def record_model(path):
    hashes = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name not in HASHED:
            continue
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        hashes[tensor.name] = {"type": tensor.tensor_type.name, "shape": list(values.shape),
                               "sha256": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()}
    (HERE / "smollm2.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def record_safetensors():
    torch.manual_seed(1)
    tensors = {"scalar": torch.tensor(3.5), "empty": torch.zeros(2, 0, 3), "name with \"quotes\" \u00e9": torch.arange(3)}
    for dtype in [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.float16, torch.bfloat16, torch.uint32,
                  torch.int32, torch.float32, torch.uint64, torch.int64, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]:
        tensors["t." + str(dtype).split(".")[1]] = (torch.rand(2, 3) * 100).to(dtype)
    safetensors.torch.save_file(tensors, HERE / "dtypes.safetensors", metadata={"format": "pt", "version": "12"})
    raw = {}
    for name, tensor in tensors.items():
        data = b"" if tensor.numel() == 0 else tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        raw[name] = {"shape": list(tensor.shape), "hex": data.hex()}
    (HERE / "dtypes.json").write_text(json.dumps(raw, indent=1, sort_keys=True) + "\n")


def record_events():
    with open(HERE / "events.recorded", "wb") as file:
        writer = RecordWriter(file)
        writer.write(event_pb2.Event(wall_time=1750000000.25, file_version="brain.Event:2").SerializeToString())
        for step, values in [(0, {"reward/mean": 0.125, "lr": 2e-5}), (1, {"reward/mean": -0.5}), (300, {"reward/mean": float("inf"), "big": 3e38})]:
            event = event_pb2.Event(wall_time=1750000000.5 + step, step=step)
            for tag, value in values.items():
                event.summary.value.append(summary_pb2.Summary.Value(tag=tag, simple_value=value))
            writer.write(event.SerializeToString())
        writer.flush()


def rollout_table(own_columns):
    lists = pa.list_(pa.int32())
    floats = pa.list_(pa.float32())
    columns = [
        ("input_tokens", lists, [[1, 2, 3], []]), ("output_tokens", lists, [[4, 5], [6]]),
        ("input_logprobs", floats, [[0.0, 0.0, 0.0], None]), ("output_logprobs", floats, [[-0.5, -1.25], [-2.0]]),
        ("prompt", pa.string(), ["caf\u00e9", ""]), ("problem_id", pa.string(), ["p0", "p1"]), ("completion", pa.string(), ["x", "y"]),
        ("advantages", pa.float32(), [1.0, -1.0]), ("rewards", pa.float32(), [0.5, 0.0]), ("task_rewards", pa.float32(), [0.25, 0.0]),
        ("length_penalties", pa.float32(), [0.0, 0.125]), ("proofs", pa.binary(), [b"\x00\xff", b""]), ("step", pa.int32(), [7, 8]),
        ("target_lengths", pa.int32(), [-1, 64]), ("task_type", pa.string(), ["math", "code"]), ("seed", pa.int64(), [2**40, None]),
        ("temperature", pa.float32(), [1.0, 0.5])]
    if own_columns:
        columns += [("group_id", pa.uint64(), [2**63 + 5, 3]), ("sample", pa.int32(), [0, 1]),
                    ("versions", pa.list_(pa.int64()), [[7, 8], [8]]), ("stop_reason", pa.string(), ["stop", "length"])]
    return pa.table([pa.array(v, t) for _, t, v in columns], names=[n for n, _, _ in columns])


def record_parquet():
    pq.write_table(rollout_table(True), HERE / "rollouts_element.parquet")
    pq.write_table(rollout_table(False), HERE / "rollouts_item.parquet", use_compliant_nested_type=False, store_schema=False)
    messages = pa.struct([("role", pa.string()), ("content", pa.string())])
    table = pa.table({
        "question": pa.array(["1 + 1?", None, "\u00fc"]), "answer": pa.array([2, -3, None], pa.int64()),
        "big": pa.array([2**64 - 1, 0, 1], pa.uint64()), "ratio": pa.array([0.5, None, 1e300]), "single": pa.array([0.25, 1.5, -2.0], pa.float32()),
        "half": pa.array(np.array([0.5, -2.0, 65504.0], np.float16)), "ok": pa.array([True, None, False]), "none": pa.nulls(3),
        "messages": pa.array([[{"role": "user", "content": "hi"}], [], None], pa.list_(messages)),
        "nested": pa.array([[[1], [2, 3]], [None], []], pa.large_list(pa.list_(pa.int8()))),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "day": pa.array([datetime.date(2025, 6, 11), None, datetime.date(1970, 1, 1)], pa.date32())})
    pq.write_table(table, HERE / "dataset.parquet", row_group_size=2)
    with open(HERE / "dataset.jsonl", "w") as file:
        for row in table.to_pylist():
            file.write(json.dumps(row, default=str, sort_keys=True) + "\n")
    pq.write_table(pa.table({"question": ["q"], "image": pa.array([b"\x89PNG"], pa.binary())}), HERE / "binary.parquet")


if __name__ == "__main__":
    model = sys.argv[1] if len(sys.argv) > 1 else HERE.parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    record_gguf()
    record_model(model)
    record_safetensors()
    record_events()
    record_parquet()
