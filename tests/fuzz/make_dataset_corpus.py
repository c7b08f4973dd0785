"""Writes the corpus of dataset_fuzz.cc: JSON Lines good and bad, and one small Parquet file.

    python3 tests/fuzz/make_dataset_corpus.py      (needs pyarrow; recorded with 26.0.1)
"""

import pathlib

import pyarrow
import pyarrow.parquet

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "dataset"
CORPUS.mkdir(parents=True, exist_ok=True)

LINES = {
    "rows": b'{"prompt": "a", "answer": 3, "id": "x"}\n{"prompt": "b", "answer": null, "task_type": "sum"}\n',
    "messages": b'{"messages": [{"role": "user", "content": "hi"}], "answer": "yes"}\n',
    "messages_wrong": b'{"messages": [{"role": 1, "content": "hi"}]}\n{"messages": [3]}\n{"messages": {}}\n{"messages": []}\n',
    "mark_and_carriage_returns": b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}',
    "no_object": b"[1, 2]\n",
    "torn": b'{"prompt": "a"}\n{"prompt": "b',
    "not_utf8": b'{"prompt": "\xff\xfe"}\n',
    "nul": b'{"prompt": "a\\u0000b"}\n\x00\n',
    "deep": b'{"prompt": ' + b"[" * 3000 + b"]" * 3000 + b"}\n",
    "numbers": b'{"prompt": "a", "answer": 1e999, "id": -0, "task_type": 18446744073709551616}\n',
    "empty": b"\n \n",
}
for name, data in LINES.items():
    (CORPUS / name).write_bytes(data)

table = pyarrow.table({
    "prompt": ["a", "b"],
    "answer": [1, 2],
    "messages": [[{"role": "user", "content": "x"}], [{"role": "user", "content": "y"}]],
})
pyarrow.parquet.write_table(table, CORPUS / "table.parquet", compression="NONE", use_dictionary=False,
                            write_statistics=False, store_schema=False)
