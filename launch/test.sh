#!/usr/bin/env bash
# Runs the tests in .venv. Arguments go to pytest: `bash launch/test.sh -m slow` for the slow ones.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
exec "$PYTHON" -m pytest -n 2 --dist loadfile "$@"
