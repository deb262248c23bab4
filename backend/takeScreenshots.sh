#!/usr/bin/env bash
# Takes the screenshots of docs/pm-guide.md anew, from the demo data: backend/takeScreenshots.sh
set -euo pipefail
export REQUIRE_BROWSER=true
exec "$(dirname "${BASH_SOURCE[0]}")/runTests.sh" ctj_api/tests/browser/screenshots.py "$@"
