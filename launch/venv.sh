# Sourced by quickstart.sh and test.sh: makes or reuses .venv and leaves $PYTHON set.
# Installs again only when requirements.txt has changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "ssd_jax needs Python 3.11 or newer; python3 is $(python3 --version 2>&1)" >&2
    exit 1
  }
  echo "Making .venv"
  python3 -m venv .venv
fi
PYTHON="$PWD/.venv/bin/python"
if ! cmp -s requirements.txt .venv/installed-requirements.txt; then
  echo "Installing requirements.txt into .venv (a minute or two, once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/installed-requirements.txt
fi
