"""pyarrow reads our rollout files with the expected schema and values. Usage: check_rollouts.py SAMPLES"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1] + "/rollouts.parquet"
table = pq.read_table(path)
ints, floats = pa.list_(pa.int32()), pa.list_(pa.float32())
expected = pa.schema([
    ("input_tokens", ints), ("output_tokens", ints), ("input_logprobs", floats), ("output_logprobs", floats), ("prompt", pa.string()),
    ("problem_id", pa.string()), ("completion", pa.string()), ("advantages", pa.float32()), ("rewards", pa.float32()),
    ("task_rewards", pa.float32()), ("length_penalties", pa.float32()), ("proofs", pa.binary()), ("step", pa.int32()),
    ("target_lengths", pa.int32()), ("task_type", pa.string()), ("seed", pa.int64()), ("temperature", pa.float32()),
    ("group_id", pa.uint64()), ("sample", pa.int32()), ("versions", pa.list_(pa.int64())), ("stop_reason", pa.string())])
assert table.schema.names == expected.names, table.schema.names
assert table.schema.equals(expected), table.schema

for i, row in enumerate(table.to_pylist()):
    assert row == {
        "input_tokens": [1, 2, i], "output_tokens": [100 + i] * i, "input_logprobs": [0.0] * 3 if i == 1 else None,
        "output_logprobs": [-0.5 * i] * i, "prompt": f"pr\u00f6mpt {i}", "problem_id": str(i), "completion": "answer\n",
        "advantages": 0.5 - i, "rewards": float(i), "task_rewards": 0.25, "length_penalties": 0.0, "proofs": b"\x00\x80", "step": 7,
        "target_lengths": -1, "task_type": "words", "seed": 2**40 if i == 2 else None, "temperature": 0.75,
        "group_id": 2**63 + i, "sample": i, "versions": [7] * i, "stop_reason": "stop"}, row

metadata = pq.read_metadata(path)
assert metadata.num_rows == 3 and metadata.num_row_groups == 1
assert {metadata.row_group(0).column(c).compression for c in range(metadata.num_columns)} == {"SNAPPY"}
