"""The safetensors library reads our files. Usage: check_safetensors.py SAMPLES"""

import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

path = sys.argv[1] + "/model.safetensors"
tensors = load_file(path)
expected = {"weight": torch.tensor([[0, 0.5, -1], [1.5, 2, -2.5]]), "half": torch.tensor([1, -2, 0], dtype=torch.bfloat16),
            "scalar": torch.tensor(-5), "empty": torch.zeros(0, 4)}
assert tensors.keys() == expected.keys(), tensors.keys()
for name, tensor in expected.items():
    assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor), name
with safe_open(path, "pt") as file:
    assert file.metadata() == {"format": "pt", "version": "12"}, file.metadata()
