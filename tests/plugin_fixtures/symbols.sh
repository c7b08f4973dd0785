#!/bin/sh
# symbols.sh FILE...: fails unless each plugin exports exactly the entry symbol.
status=0
for file in "$@"; do
  exported=$(nm -D --defined-only "$file" | awk '{print $NF}')
  if [ "$exported" != volery_plugin_entry ]; then
    echo "$file exports: $exported" >&2
    status=1
  fi
done
[ $# -gt 0 ] || status=1
exit $status
