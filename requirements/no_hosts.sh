#!/bin/sh
# No file that is kept names the host of a package registry: installs go wherever the machine's own settings point.
set -eu
cd "$(dirname "$0")/.."
hosts='py[p]i\.[a-z]|python[h]osted|npm[j]s\.|(deb|security)\.[d]ebian'
if git grep -nIE "$hosts" -- . ; then
  echo "a package registry's host is named above; take it out" >&2
  exit 1
fi
