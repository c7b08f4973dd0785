#!/bin/sh
# out_of_tree.sh CMAKE BUILD CHECKER CXX: installs BUILD into a temporary prefix, builds the installed template against
# it, and checks that the host loads the result; then does the same through `volery plugins new` and `check` where the
# program is installed.
set -eu
cmake=$1 build=$2 checker=$3 cxx=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
"$cmake" --install "$build" --prefix "$prefix" >"$work/install.log" || { cat "$work/install.log" >&2; exit 1; }

build_against_prefix() {  # SOURCE NAME
  "$cmake" -S "$1" -B "$work/build_$2" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx"
  "$cmake" --build "$work/build_$2"
}
build_against_prefix "$prefix/share/volery/template" my_reward
"$checker" "$work/build_my_reward/my_reward.so"
"$checker" "$prefix"/lib/volery/plugins/reverse_text.so
lines=$(grep -cve '^ *$' "$prefix/share/volery/template/my_reward.cc")
[ "$lines" -le 30 ] || { echo "the template has $lines lines; 30 are promised" >&2; exit 1; }

if [ -x "$prefix/bin/volery" ]; then
  (cd "$work" && "$prefix/bin/volery" plugins new reward word_share)
  build_against_prefix "$work/word_share" word_share
  "$prefix/bin/volery" plugins check "$work/build_word_share/word_share.so"
fi
