#!/usr/bin/env bash
# Drives a running keymux with the official OpenAI SDKs for Python and Node.js, on the echo provider and on recorded
# answers. Everything installed goes below target/sdk. Recordings are looked for in $KEYMUX_SHARED; without it the tests
# on them are skipped. KEYMUX_BIN tests a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."

home=${CARGO_TARGET_DIR:-target}/sdk
mkdir -p "$home"
home=$(cd "$home" && pwd)
scratch=$(mktemp -d)
running=()

die() {
    echo "sdk: FAILED, $*" >&2
    exit 1
}

clean_up() {
    for pid in ${running[@]+"${running[@]}"}; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT

install() {
    command -v python3 >/dev/null || die "python3 is not installed"
    command -v npm >/dev/null || die "Node.js with npm is not installed"
    if [ ! -x "$home/venv/bin/python" ]; then
        python3 -m venv "$home/venv" || die "python3 -m venv does not work here (Debian: apt install python3-venv)"
    fi
    "$home/venv/bin/python" -c "import openai" 2>/dev/null ||
        "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check openai ||
        die "pip install openai did not work; is a package index reachable?"
    [ -d "$home/node/node_modules/openai" ] ||
        npm install --silent --no-audit --no-fund --prefix "$home/node" openai ||
        die "npm install openai did not work; is a package registry reachable?"
}

write_config() {
    cat <<EOF
[server]
listen = "127.0.0.1:$1"
[admin]
listen = "127.0.0.1:$2"

[[clients]]
name = "sdk"
key = { env_var = "SDK_CLIENT_KEY" }

[routes.fast]
targets = [{ model = "echo/echo" }]

[providers.echo]
[[providers.echo.keys]]
name = "echo"
models = ["echo", "error-400", "error-429"]
EOF
    local provider
    for provider in recorded refused-{0..39}; do
        cat <<EOF

[providers.$provider]
kind = "openai-compatible"
base_url = "$RECORDED_URL/v1"
[[providers.$provider.keys]]
name = "key"
value = { env_var = "RECORDED_KEY" }
EOF
    done
}

free_ports() {
    "$home/venv/bin/python" - <<'EOF'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in held))
EOF
}

# Each SDK gets a keymux and a provider of its own: nothing that one does can cool a key of the other's.
start() {
    local log=$1 port admin
    "$home/venv/bin/python" tests/sdk/recorded.py >"$scratch/recorded.port" &
    running+=($!)
    for _ in {1..100}; do
        [ -s "$scratch/recorded.port" ] && break
        sleep 0.1
    done
    RECORDED_URL=http://127.0.0.1:$(cat "$scratch/recorded.port")
    read -r port admin <<<"$(free_ports)"
    KEYMUX_URL=http://127.0.0.1:$port
    write_config "$port" "$admin" >"$scratch/keymux.toml"
    "$keymux" run --config "$scratch/keymux.toml" >"$log" 2>&1 &
    running+=($!)
    local pid=$!
    for _ in {1..100}; do
        kill -0 "$pid" 2>/dev/null || break
        if "$keymux" healthcheck --config "$scratch/keymux.toml" >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    cat "$log"
    die "keymux did not become ready"
}

stop() {
    kill "${running[@]}" 2>/dev/null || true
    wait "${running[@]}" 2>/dev/null || true
    running=()
    rm -f "$scratch/recorded.port"
}

# Adds "N passed, N failed, N skipped" to the sums.
add() {
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

install
if [ -n "${KEYMUX_BIN-}" ]; then
    keymux=$KEYMUX_BIN
else
    cargo build --quiet
    keymux=${CARGO_TARGET_DIR:-target}/debug/keymux
fi
[ -n "${KEYMUX_SHARED-}" ] || echo "sdk: KEYMUX_SHARED is not set, tests on recorded answers are skipped"

# A key that shares no six characters with any recorded error: keymux cuts such pieces out of what a provider says.
RECORDED_KEY=sk-7QzX9vJ2kWb4Yt8H
export SDK_CLIENT_KEY=sk-client-of-the-sdk-tests RECORDED_KEY KEYMUX_URL RECORDED_URL
passed=0 failed=0 skipped=0

echo "sdk: Python"
start "$scratch/keymux-python.log"
"$home/venv/bin/python" tests/sdk/test_openai.py 2>&1 | tee "$scratch/python.out" || true
read -r a b c <<<"$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$scratch/python.out")"
[ -n "${c-}" ] || die "the Python tests did not come to their end"
add "$a" "$b" "$c"
stop

echo "sdk: Node.js"
start "$scratch/keymux-node.log"
SDK_HOME=$home/node node --test --test-reporter=tap tests/sdk/test_openai.mjs >"$scratch/node.out" 2>&1 || true
count() { sed -n "s/^# $1 \([0-9]*\)$/\1/p" "$scratch/node.out"; }
[ -n "$(count pass)" ] || { cat "$scratch/node.out" && die "the Node.js tests did not come to their end"; }
[ "$(count fail)" = 0 ] || grep -A 60 -E '^ *not ok' "$scratch/node.out" | head -n 400
echo "$(count pass) passed, $(count fail) failed, $(count skipped) skipped"
add "$(count pass)" "$(count fail)" "$(count skipped)"
stop

if [ "$failed" != 0 ]; then
    echo "sdk: the last lines of keymux's log (Python, then Node.js)"
    tail -n 20 "$scratch/keymux-python.log" "$scratch/keymux-node.log"
fi
echo "sdk: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
