#!/usr/bin/env bash
# Holds a released checkpoint that you bring against the figures its authors published:
#   tests/released.sh CHECKPOINT lambada_test.jsonl          RWKV World, GoldFinch L24: LAMBADA
#   tests/released.sh CHECKPOINT minipile-validation.parquet GoldFinch: loss on the text
# tests/released.sh --help has the options, --list the checkpoints and their figures. Needs build/release/bin/volery
# (./bootstrap.sh build), or VOLERY_BINARY.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/released.py" "$@"
