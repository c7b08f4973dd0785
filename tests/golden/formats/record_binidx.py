"""Records binidx files, magic primes and sample offsets with the programs that define them.

    .deps/venv/bin/python tests/golden/formats/record_binidx.py RWKV-LM json2binidx_tool

RWKV-LM: a checkout of github.com/BlinkDL/RWKV-LM, json2binidx_tool one of github.com/Abel2076/json2binidx_tool. Recorded
at commits 524481d5 and 9051dad7, with torch 2.13.0 (the modules import it), numpy 2.4.6. Files go to binidx/;
expected.json gives what RWKV-LM's reader reads of each, magic_prime.json what its scripts compute.
"""

import ast
import contextlib
import importlib
import io
import json
import pathlib
import re
import sys
import types

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "binidx"
EPOCH = 40320


def package(name, folder):
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def builder_of(script, dataset):
    """The one class of make_data.py that writes; the rest of that file is a program."""
    tree = ast.parse(script.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "MMapIndexedDatasetBuilder"]
    names = {"np": np, "MMapIndexedDataset": dataset}
    exec(compile(tree, str(script), "exec"), names)
    return names["MMapIndexedDatasetBuilder"]


def write(builder_class, name, dtype, documents):
    builder = builder_class(str(HERE / (name + ".bin")), dtype=dtype)
    for items in documents:
        for item in items:
            builder.add_item(np.array(item, dtype=dtype))
        builder.end_document()
    builder.finalize(str(HERE / (name + ".idx")))


def read(dataset, name):
    data = dataset(str(HERE / name))
    return {"dtype": np.dtype(data._index.dtype).name, "items": [data.get(i).tolist() for i in range(len(data))],
            "doc_idx": data.doc_idx.tolist(), "tokens": data.get(0, 0, int(data.sizes.sum())).tolist()}


def magic_prime(script, tokens, context):
    """What compute_magic_prime.py prints for a file of that many tokens."""
    class Fake:
        def __init__(self, name):
            self._bin_buffer = range(2 * tokens)
            self._index = types.SimpleNamespace(_dtype_size=2, dtype=np.uint16)

        def __len__(self):
            return 1

    sys.modules["src"], sys.modules["src.binidx"] = types.ModuleType("src"), types.SimpleNamespace(MMapIndexedDataset=Fake)
    text, count = re.subn(r"(?m)^CTX_LEN = \d+$", f"CTX_LEN = {context}", script.read_text())
    assert count == 1
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        exec(compile(text, str(script), "exec"), {"exit": sys.exit})
    found = re.search(r"magic_prime = (\d+)", printed.getvalue())
    return int(found[1]) if found else 0


def offset(dataset_class, prime, context, epoch, index, rank, ranks):
    """Where the trainer's dataset reads a sample."""
    seen = []

    class Fake:
        def get(self, idx, offset, length):
            assert idx == 0 and length == context + 1
            seen.append(int(offset))
            return np.zeros(4, np.uint16)

    dataset = dataset_class.__new__(dataset_class)
    dataset.args = types.SimpleNamespace(ctx_len=context, magic_prime=prime)
    dataset.data, dataset.samples_per_epoch = Fake(), EPOCH
    dataset.global_rank, dataset.real_epoch, dataset.world_size = rank, epoch, ranks
    dataset[index]
    return seen[0]


def main():
    rwkv, tool = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    HERE.mkdir(exist_ok=True)
    sys.modules["pytorch_lightning"] = types.ModuleType("pytorch_lightning")
    sys.modules["pytorch_lightning.utilities"] = types.SimpleNamespace(rank_zero_info=print)
    package("trainer", rwkv / "RWKV-v7" / "train_temp" / "src")
    dataset = importlib.import_module("trainer.binidx").MMapIndexedDataset
    samples = importlib.import_module("trainer.dataset").MyDataset
    sys.path.insert(0, str(tool / "tools"))
    tool_builder = importlib.import_module("indexed_dataset").MMapIndexedDatasetBuilder
    rwkv_builder = builder_of(rwkv / "RWKV-v5" / "make_data.py", dataset)

    rng = np.random.default_rng(12)
    documents = [rng.integers(1, 65536, size).tolist() + [0] for size in [0, 1, 5, 40, 3]]
    write(rwkv_builder, "rwkv_u16", np.uint16, [[document] for document in documents])
    write(tool_builder, "tool_i32", np.int32, [[[*document, 70000, 2**31 - 1, 0]] for document in documents])
    write(tool_builder, "tool_items", np.int32, [[[70000, 5, 0]], [[1], [2, 2**31 - 1], [3, 0]], [[]], [], [[9, 0]]])
    expected = {name: read(dataset, name) for name in ["rwkv_u16", "tool_i32", "tool_items"]}
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")

    script = rwkv / "RWKV-v5" / "compute_magic_prime.py"
    sizes = [(1498226207, 512), (1498226207, 1024), (1498226207, 2048), (1498226207, 4096), (332115325534, 1024), (3, 1), (12, 4), (11, 4), (30, 5),
             (48, 8), (99, 1), (100, 1), (10**6, 7), (1023, 512)]
    primes = [{"tokens": tokens, "context": context, "prime": magic_prime(script, tokens, context)} for tokens, context in sizes]
    offsets = []
    for prime, context in [(2, 4), (5, 3), (11, 8), (101, 16), (365759, 4096), (1463027, 1024), (324331313, 1024), (2**48 - 59, 1024)]:
        for epoch, index, rank, ranks in [(0, 0, 0, 1), (0, 1, 0, 1), (0, 2, 0, 1), (0, 3, 1, 4), (1, 0, 0, 1), (7, 1259, 5, 32), (36, 5000, 3, 8), (10**6, 39, 1000, 1024)]:
            offsets.append({"prime": prime, "context": context, "sample": epoch * EPOCH + index * ranks + rank,
                            "offset": offset(samples, prime, context, epoch, index, rank, ranks)})
    (HERE / "magic_prime.json").write_text(json.dumps({"primes": primes, "offsets": offsets}, indent=0) + "\n")


if __name__ == "__main__":
    main()
