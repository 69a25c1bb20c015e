#!/usr/bin/env bash
# Prints the path of a Packer for the tests: the one on PATH, or Debian's package, unpacked below build/tools and not
# installed. Prints nothing and fails where there is neither.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$PWD/build/tools/packer

if ! command -v packer; then
  if [ ! -x "$place/usr/bin/packer" ]; then
    mkdir -p "$place"
    (cd "$place" && apt-get download -qq packer && dpkg-deb --extract packer_*.deb . && rm packer_*.deb) >/dev/null 2>&1
  fi
  echo "$place/usr/bin/packer"
fi
