#!/usr/bin/env bash
# The units are well formed, and the service is locked up as tightly as its comment says.
set -euo pipefail
cd "$(dirname "$0")/.."

most=1.5

if ! command -v systemd-analyze >/dev/null; then
    echo "systemd: skipped, systemd-analyze is not installed"
    exit 0
fi
if ! systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
    echo "systemd: skipped, $(systemd-analyze --version | head -n 1) cannot check a unit offline"
    exit 0
fi

# The program and the man page need not be installed for the check, so stand-ins take their places.
units=$(mktemp -d)
trap 'rm -r "$units"' EXIT
cp systemd/keymux.service systemd/keymux.socket "$units"
sed -i 's|/usr/local/bin/keymux|/bin/true|' "$units/keymux.service"
problems=$(systemd-analyze verify --man=no "$units/keymux.service" "$units/keymux.socket" 2>&1 | grep keymux || true)
if [ -n "$problems" ]; then
    echo "systemd: FAILED, the units are not well formed"
    echo "$problems"
    exit 1
fi

report=$(systemd-analyze security --offline=true --no-pager systemd/keymux.service)
score=$(sed -n 's/.*Overall exposure level[^:]*: \([0-9.]*\).*/\1/p' <<<"$report")
if [ -z "$score" ]; then
    echo "systemd: FAILED, no score in the report of systemd-analyze:"
    echo "$report"
    exit 1
fi
if awk -v score="$score" -v most="$most" 'BEGIN { exit !(score > most) }'; then
    echo "systemd: FAILED, exposure $score is above $most:"
    grep -v '^✓' <<<"$report"
    exit 1
fi
echo "systemd: ok, exposure $score (at most $most)"
