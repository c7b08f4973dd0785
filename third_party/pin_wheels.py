#!/usr/bin/env python3
"""Writes a wheel list pinned by version and hash: pin_wheels.py OUT.txt REQUIREMENT... [--exclude NAME ...]

Asks pip (--dry-run --report) for the closure of the requirements on this machine's Python and writes one line a wheel.
Run it with the interpreter of a venv when a pin changes; bootstrap.sh installs the lists with --no-deps --require-hashes.
"""
import json
import subprocess
import sys
import tempfile

args = sys.argv[1:]
exclude = set()
if "--exclude" in args:
    at = args.index("--exclude")
    exclude = {name.lower() for name in args[at + 1:]}
    args = args[:at]
out, requirements = args[0], args[1:]
with tempfile.NamedTemporaryFile(suffix=".json") as report:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report",
                    report.name, *requirements], check=True)
    installs = json.load(open(report.name))["install"]
lines = []
for item in installs:
    meta, archive = item["metadata"], item["download_info"]["archive_info"]
    if meta["name"].lower() in exclude:
        continue
    digest = archive.get("hashes", {}).get("sha256") or archive["hash"].removeprefix("sha256=")
    lines.append(f"{meta['name']}=={meta['version']} --hash=sha256:{digest}\n")
with open(out, "w") as f:
    f.write("# Written by pin_wheels.py for: " + " ".join(requirements) + "\n")
    f.writelines(sorted(lines, key=str.lower))
