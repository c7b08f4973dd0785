"""bootstrap.sh on machines that it can't set up: which stage, why, what to do. Debian's tools and pip are played by shims; no network, nothing is installed."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from common import SOURCE, expect

SHIMMED = {"dpkg-query", "apt-get", "id", "g++", "python3", "sudo", "cmake", "ninja"}

SHIMS = {
    "dpkg-query": '[ "$SHIM_DPKG" = missing ] && [ "${!#}" = ninja-build ] && exit 1; echo installed',
    "id": 'echo "${SHIM_UID:-0}"',
    "apt-get": 'echo "$SHIM_APT"; exit 100',
    "g++": 'echo "${SHIM_GCC:-12}"',
    "cmake": 'echo "CMake Error: $SHIM_CMAKE"; exit 1',
    "ninja": "exit 1",
    "python3": """
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
elif [ "$1 $2" = "-m pip" ] && [[ "$*" == *--report* ]]; then
  case "$SHIM_PIP" in
    offline) echo "WARNING: Retrying: NewConnectionError: Temporary failure in name resolution"; exit 1 ;;
    cuda) while [ "$1" != --report ]; do shift; done; cp "$SHIM_REPORT" "$2" ;;
    *) while [ "$1" != --report ]; do shift; done; echo '{"install": []}' >"$2" ;;
  esac
elif [ "$1 $2" = "-m pip" ]; then
  echo "$*" >>"$SHIM_CALLS"
  case "$SHIM_PIP" in
    full) echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"; exit 1 ;;
    hash) echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."; exit 1 ;;
  esac
else
  exec REAL_PYTHON "$@"
fi""".replace("REAL_PYTHON", sys.executable),
}


class Machine:
    """A clone with only what bootstrap.sh reads, and a PATH of shims before this machine's tools (without sudo)."""

    def __init__(self, folder):
        self.clone, self.bin, self.calls = folder / "clone", folder / "bin", folder / "calls"
        self.clone.mkdir()
        self.bin.mkdir()
        shutil.copytree(SOURCE / "third_party", self.clone / "third_party")
        script = (SOURCE / "bootstrap.sh").read_text()
        expect("/etc/os-release" in script, "bootstrap.sh no longer reads /etc/os-release")
        self.os_release = folder / "os-release"
        self.script = self.clone / "bootstrap.sh"
        self.script.write_text(script.replace("/etc/os-release", str(self.os_release)))
        self.script.chmod(0o755)
        for tools in (pathlib.Path("/usr/bin"), pathlib.Path("/bin")):
            for tool in tools.iterdir():
                if tool.name not in SHIMMED and not (self.bin / tool.name).exists():
                    (self.bin / tool.name).symlink_to(tool)
        for name, body in SHIMS.items():
            (self.bin / name).write_text(f"#!/bin/bash\n{body}\n")
            (self.bin / name).chmod(0o755)
        report = [{"metadata": {"name": name, "version": "2.13.0"}, "download_info": {"url": "file:///nowhere"}} for name in ("torch", "nvidia-cublas", "triton")]
        self.report = folder / "report.json"
        self.report.write_text(json.dumps({"install": report}))

    def call(self, *words, system="debian 12", **shims):
        name, version = system.split()
        self.os_release.write_text(f'ID={name}\nVERSION_ID="{version}"\n')
        shutil.rmtree(self.clone / ".deps", ignore_errors=True)
        environment = {"PATH": str(self.bin), "HOME": str(self.clone), "SHIM_CALLS": str(self.calls), "SHIM_REPORT": str(self.report)}
        environment.update({key if key.isupper() else f"SHIM_{key.upper()}": value for key, value in shims.items()})
        return subprocess.run([str(self.script), *words], env=environment, capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as temporary:
    machine = Machine(pathlib.Path(temporary))

    def fails(name, stage, *parts, words=("build",), code=1, **shims):
        process = machine.call(*words, **shims)
        text = process.stdout + process.stderr
        expect(process.returncode == code, name, ": exit", process.returncode, "\n", text)
        for part in (f'stage "{stage}"', "why:", "what to do", *parts):
            expect(part in text, name, ": no", repr(part), "in\n", text)
        print("ok:", name)

    fails("another distribution", "system", "fedora 41", "Debian 12", "VOLERY_SKIP_APT=1", system="fedora 41")
    fails("another Debian", "system", "debian 13", system="debian 13")
    fails("no root and no sudo", "packages", "ninja-build", "not root", "apt-get install", dpkg="missing", uid="1000")
    fails("no network for apt", "packages", "no network", dpkg="missing", apt="Err:1 Temporary failure resolving 'mirror'")
    fails("disk full in apt", "packages", "the disk is full", dpkg="missing", apt="E: write error - No space left on device")
    fails("old compiler", "compiler", "(g++) is 10", "g++ 12", gcc="10")
    fails("no network for pip", "ask pip", "no network", pip="offline")
    fails("pip would bring CUDA", "torch", "2 CUDA packages", "about 3 GB", "--cuda", "VOLERY_TORCH=", "index", pip="cuda")
    expect(not machine.calls.exists(), "something was downloaded before the refusal:", machine.calls.exists() and machine.calls.read_text())
    fails("disk full in pip", "wheels", "the disk is full", pip="full")
    fails("another file than pinned", "wheels", "pinned hash", pip="hash")
    fails("VOLERY_TORCH is no folder of torch", "torch", "/nowhere", "torch package", VOLERY_TORCH="/nowhere")
    fails("model can't be fetched", "model", "look at the message")

    usage = machine.call("biuld")
    expect(usage.returncode == 2 and "./bootstrap.sh test" in usage.stderr, "an unknown verb prints no usage:", usage.stderr)
    usage = machine.call("run")
    expect(usage.returncode == 2 and "RECIPE.toml" in usage.stderr, "run without a recipe prints no usage:", usage.stderr)
    print("ok: usage")
