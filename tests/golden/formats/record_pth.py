"""Records PyTorch checkpoints that torch itself wrote, and what is in them; torch_file_test.cc compares with these.

    .deps/venv/bin/python tests/golden/formats/record_pth.py

Recorded with torch 2.13.0 and Python 3.11. Files go to pth/; expected.json gives, by file, group and name, what
torch.load reads; zip64.json gives the headers that Python's zipfile writes for entries beyond 4 GiB.
"""

import collections
import io
import json
import pathlib
import tempfile
import zipfile

import torch

HERE = pathlib.Path(__file__).resolve().parent / "pth"


def flat_tensors():
    torch.manual_seed(7)
    shared = torch.rand(24)
    tensors = {"whole": shared.reshape(4, 6), "view": shared[6:12].reshape(2, 3), "tail": shared[20:], "past_end": shared[24:],
               "scalar": torch.tensor(3.5), "empty": torch.zeros(2, 0, 3), "one_row": torch.rand(3, 1, 2)[:, 0:1].contiguous(),
               "parameter": torch.nn.Parameter(torch.rand(3).bfloat16()), "name with \u00e9 / \"quotes\"": torch.arange(300)}
    for dtype in [torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.float16, torch.bfloat16, torch.uint32,
                  torch.int32, torch.float32, torch.uint64, torch.int64, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]:
        tensors["t." + str(dtype).split(".")[1]] = (torch.rand(2, 3) * 100).to(dtype)
    return tensors


def describe(tensor):
    tensor = tensor.detach()
    data = b"" if tensor.numel() == 0 else tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return {"dtype": str(tensor.dtype).split(".")[1], "shape": list(tensor.shape), "hex": data.hex()}


def describe_file(path):
    """Read back by torch, so that the expectation is what torch.load gives."""
    groups = {"": {}}
    for name, value in torch.load(path, weights_only=True).items():
        if isinstance(value, torch.Tensor):
            groups[""][name] = describe(value)
        elif isinstance(value, dict):
            inner = {k: describe(v) for k, v in value.items() if isinstance(v, torch.Tensor)}
            if inner:
                groups[name] = inner
    return groups


def record_zip64():
    """The directory at the end of a file that is one large hole in front of it."""
    begin, entries = 6 << 30, {}
    with tempfile.TemporaryFile() as hole:
        archive = zipfile.ZipFile(hole, "w")
        for name, size, header in [("archive/data.pkl", 70, 0), ("archive/data/0", 5 << 30, 64), ("archive/data/1", 9, (5 << 30) + 128),
                                   ("archive/data/2", (4 << 30) - 1, (4 << 30) - 1)]:
            info = zipfile.ZipInfo(name)
            info.file_size = info.compress_size = size
            info.header_offset, info.CRC, info.flag_bits, info.create_system = header, 0x12345678 + size % 1000, 0x800, 0
            archive.filelist.append(info)
            entries[name] = {"size": size, "header": header, "crc": info.CRC, "local": info.FileHeader().hex()}
        archive.start_dir, archive._didModify = begin, True
        hole.seek(begin)
        archive.close()
        hole.seek(begin)
        data = hole.read()
    end = data.index(b"PK\x06\x06")
    return {"begin": begin, "directory": data[:end].hex(), "end": data[end:].hex(), "entries": entries}


def save_script(path):
    """A TorchScript program without its debug entries, which hold paths of the machine that wrote them."""
    whole = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            if not info.filename.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(info.filename), source.read(info), info.compress_type)


def main():
    HERE.mkdir(exist_ok=True)
    torch.manual_seed(8)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(4, 2)).sum().backward()
    optimizer.step()
    read = {
        "plain_protocol_2.pth": (flat_tensors(), 2),
        "plain_protocol_3.pth": (flat_tensors(), 3),
        "plain_protocol_4.pth": (flat_tensors(), 4),
        "plain_protocol_5.pth": (flat_tensors(), 5),
        "ordered_protocol_2.pth": (model.state_dict(), 2),  # an OrderedDict with the attribute _metadata
        "ordered_protocol_4.pth": (model.state_dict(), 4),
        "groups.pth": ({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "ema": {"0.weight": torch.ones(3, 2)},
                        "bias": torch.zeros(2), "step": 70000, "big": 2**80, "negative": -2**40, "ratio": 0.125, "name": "caf\u00e9",
                        "flags": [True, None], "size": torch.Size([2, 3]), "pair": (1, 2), 5: "five"}, 2),
        "no_tensors.pth": ({}, 2),
    }
    expected = {}
    for name, (content, protocol) in read.items():
        torch.save(content, HERE / name, pickle_protocol=protocol)
        if protocol in (2, 3):
            expected[name] = describe_file(HERE / name)
    # weights_only doesn't know the opcodes of protocol 4 on; the same content was read under protocol 2.
    for name, other in [("plain_protocol_4.pth", "plain_protocol_2.pth"), ("plain_protocol_5.pth", "plain_protocol_2.pth"),
                        ("ordered_protocol_4.pth", "ordered_protocol_2.pth")]:
        expected[name] = expected[other]

    # What volery refuses.
    torch.save({"fine": torch.ones(2), "turned": torch.rand(2, 3).t()}, HERE / "not_contiguous.pth")
    torch.save({"w": torch.ones(2)}, HERE / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.ones(2), HERE / "bare_tensor.pth")
    torch.save(torch.nn.Linear(2, 1), HERE / "whole_module.pth")
    torch.save({"s": torch.eye(3).to_sparse()}, HERE / "sparse.pth")
    torch.save({"c": torch.ones(2, dtype=torch.complex64)}, HERE / "complex.pth")
    torch.save({"n": torch.ones(2, dtype=torch.complex64).conj().imag}, HERE / "negated.pth")
    save_script(HERE / "script.pth")
    torch.serialization.set_crc32_options(False)
    torch.save(collections.OrderedDict(w=torch.arange(5)), HERE / "no_checksums.pth")
    expected["no_checksums.pth"] = describe_file(HERE / "no_checksums.pth")
    (HERE / "zip64.json").write_text(json.dumps(record_zip64(), indent=1) + "\n")
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
