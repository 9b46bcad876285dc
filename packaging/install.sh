#!/usr/bin/env bash
# Makes a virtual environment: packaging/install.sh locked|newest|tools FOLDER; the Makefile calls it.
#
#   locked  every package as the exact file whose hash stands in the lock, then hilum
#   newest  the newest releases that pyproject.toml allows, then hilum; NEWEST=NAME goes beyond what it allows
#   tools   ruff as it is locked, and nothing else
#
# What pip says goes into FOLDER/install.log, and its end is shown only where pip fails.
set -euo pipefail
cd "$(dirname "$0")/.."
how=$1 venv=$2
python=${PYTHON:-python3}
lock=packaging/requirements-test.lock
log=$venv/install.log
torch=(${TORCH_WHEELS:+--find-links "$TORCH_WHEELS"})

install() {  # what is said, then pip's arguments
  echo "$1"
  shift
  if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "pip could not install this. Everything that it said is in $log." >&2
    exit 1
  fi
}

"$python" -c 'import sys; sys.exit("hilum needs Python 3.11 or newer, and this is " + sys.version) if sys.version_info < (3, 11) else 0'
# A lock that changed gets a clean folder, so that nothing which it no longer names is tested with.
if [ "$lock" -nt "$venv/.ready" ]; then
  echo "Making a virtual environment in $venv"
  "$python" -m venv --clear "$venv"
fi
echo "== $how" >>"$log"

locked_for="CPython 3.11 on linux x86_64"
here=$("$venv/bin/python" -c 'import platform as p, sys; print(p.python_implementation(), "%d.%d" % sys.version_info[:2], "on", sys.platform, p.machine())')

case $how in
  tools)
    sed -n '/^ruff==/,/^ *# via/p' "$lock" >"$venv/ruff.txt"
    install "Installing ruff as it is locked" --no-deps --require-hashes --requirement "$venv/ruff.txt"
    ;;
  newest)
    install "Installing the newest releases that pyproject.toml allows (a few minutes)" \
      --upgrade --upgrade-strategy eager "${torch[@]}" --editable '.[test,train]'
    if [ -n "${NEWEST:-}" ]; then
      install "Installing the newest $NEWEST, whatever pyproject.toml allows" --upgrade "$NEWEST"
      "$venv/bin/python" -c 'import importlib.metadata as m, sys; print(sys.argv[1], m.version(sys.argv[1]), "is installed")' "$NEWEST"
    fi
    ;;
  locked)
    if [ "$here" = "$locked_for" ]; then
      # The lock is complete. Without --no-deps pip looks beyond it for what is asked for with an extra, and refuses that.
      install "Installing the locked packages (a few minutes the first time)" \
        --no-deps --only-binary :all: --require-hashes "${torch[@]}" --requirement "$lock"
      install "Installing hilum" --no-deps --no-build-isolation --editable .
    else
      # The hashes are those of the lock's platform. Its versions are good elsewhere too, as constraints.
      echo "The lock has the files for $locked_for, and this is $here: its versions are used, without its hashes"
      sed -nE 's/^([A-Za-z0-9._-]+==[^ +]+).*/\1/p' "$lock" >"$venv/versions.txt"
      install "Installing hilum and what it needs (a few minutes the first time)" \
        "${torch[@]}" --constraint "$venv/versions.txt" --editable '.[test,train]'
    fi
    ;;
esac
touch "$venv/.ready"
