"""Writes the weights of a GGUF file in another type, for llama.cpp: make_gguf.py IN.gguf OUT.gguf F32|F16|BF16|Q8_0."""
import sys

import gguf
import numpy as np

source, target, name = sys.argv[1:4]
reader = gguf.GGUFReader(source)
kind = gguf.GGMLQuantizationType[name]
architecture = reader.fields["general.architecture"].contents()
writer = gguf.GGUFWriter(target, architecture)
for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
        continue
    value_type = field.types[0]
    element = field.types[-1] if value_type == gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, field.contents(), value_type, element)
writer.add_file_type(gguf.LlamaFileType[{"F32": "ALL_F32"}.get(name, f"MOSTLY_{name}")])
for tensor in reader.tensors:
    values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(int(n) for n in reversed(tensor.shape)))
    as_is = len(values.shape) == 1 or name == "F32"
    data = values.astype(np.float32) if as_is else gguf.quantize(values, kind)
    writer.add_tensor(tensor.name, data, raw_dtype=gguf.GGMLQuantizationType.F32 if as_is else kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
