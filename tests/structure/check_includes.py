#!/usr/bin/env python3
"""Reads the #include lines of the tree and fails on a step upward or sideways between floors, on a plugin or the SDK that
includes core, and on LibTorch in folders that must do without. usage: check_includes.py SOURCE_FOLDER"""
import pathlib
import re
import sys

FLOORS = {"base": 0, "config": 1, "text": 1, "formats": 1, "data": 2, "tensor": 2, "plugin": 3, "distributed": 3, "policy": 4,
          "inference": 5, "training": 5, "broadcast": 5, "verification": 6, "orchestration": 7, "swarm": 8, "observe": 8, "serve": 8}
TORCH_FREE = {"base", "config", "text", "formats", "data", "plugin", "broadcast", "orchestration", "observe", "swarm"}
TORCH = re.compile(r"^(ATen/|c10/|torch/|volery/nn/|volery/native/model\.h|volery/native/plugin\.h|core/(tensor|distributed|policy|inference|training)/)")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)

root = pathlib.Path(sys.argv[1])
problems, files, found_folders = [], 0, set()
for path in sorted(root.glob("core/**/*")) + sorted(root.glob("sdk/**/*")) + sorted(root.glob("plugins/**/*")):
    if path.suffix not in {".h", ".cc", ".inc"}:
        continue
    files += 1
    parts = path.relative_to(root).parts
    includes = INCLUDE.findall(path.read_text())
    where = path.relative_to(root)
    for target in includes:
        if parts[0] in {"sdk", "plugins"} and re.match(r"(core|app)/", target):
            problems.append(f"{where}: includes {target}: {parts[0]}/ knows nothing of core and app")
        if parts[0] != "core":
            continue
        folder = parts[1]
        found_folders.add(folder)
        if folder not in FLOORS:
            problems.append(f"{where}: folder core/{folder} has no floor in check_includes.py")
            break
        if folder in TORCH_FREE and TORCH.match(target):
            problems.append(f"{where}: includes {target}: core/{folder} must not see LibTorch")
        if target.startswith(("app/", "plugins/")):
            problems.append(f"{where}: includes {target}: core must not include {target.split('/')[0]}/")
        match = re.match(r"core/([^/]+)/", target)
        if not match or match[1] == folder:
            continue
        if match[1] not in FLOORS:
            problems.append(f"{where}: includes {target}: no such folder")
        elif FLOORS[match[1]] >= FLOORS[folder]:
            problems.append(f"{where}: includes {target}: core/{match[1]} (floor {FLOORS[match[1]]}) is not below core/{folder} (floor {FLOORS[folder]})")
for path in sorted(root.glob("app/**/*")) + sorted(root.glob("core/**/*")) + sorted(root.glob("sdk/include/**/*.h")):
    if path.suffix == ".h" and "#pragma once" not in path.read_text() and "/abi/" not in str(path):
        problems.append(f"{path.relative_to(root)}: no #pragma once")

print(f"{files} files in core, sdk and plugins; folders: {', '.join(sorted(found_folders))}")
if files < 50:
    problems.append(f"only {files} files found under {root}: wrong folder?")
if problems:
    print("\n".join(problems))
    sys.exit(1)
