"""torch reads our checkpoints, byte for byte, and the zip file around them is sound. Usage: check_torch_file.py SAMPLES"""

import sys
import zipfile

import torch

path = sys.argv[1] + "/model.pth"
types = {"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
         "U16": torch.uint16, "I16": torch.int16, "F16": torch.float16, "BF16": torch.bfloat16, "U32": torch.uint32,
         "I32": torch.int32, "F32": torch.float32, "U64": torch.uint64, "I64": torch.int64, "F64": torch.float64}
expected = {f"blocks.{i}.{name}": (dtype, (2, 300)) for i, (name, dtype) in enumerate(types.items())}
expected |= {"scalar \u00e9": (torch.int64, ()), "empty": (torch.bfloat16, (4, 0, 70000)), "row": (torch.float32, (1, 1, 70000, 1))}

for mmap in [False, True]:
    tensors = torch.load(path, weights_only=True, mmap=mmap)
    assert list(tensors) == list(expected), list(tensors)
    counter = 0
    for name, tensor in tensors.items():
        dtype, shape = expected[name]
        assert tensor.dtype == dtype and tuple(tensor.shape) == shape and tensor.is_contiguous(), (name, tensor.dtype, tensor.shape)
        size = tensor.numel() * tensor.element_size()
        data = bytes((7 * k + 1) % 251 & (1 if dtype == torch.bool else 255) for k in range(counter, counter + size))
        counter += size
        assert tensor.untyped_storage().nbytes() == size, name
        assert bytes(tensor.untyped_storage()) == data, name
meta = torch.load(path, weights_only=True, map_location="meta")
assert meta["row"].shape == (1, 1, 70000, 1)

with zipfile.ZipFile(path) as archive:
    assert archive.testzip() is None, "a checksum is wrong"
    with open(path, "rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            assert (info.header_offset + 30 + name + extra) % 64 == 0, info.filename
