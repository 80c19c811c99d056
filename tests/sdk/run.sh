#!/usr/bin/env bash
# Drives a running keymux with the official SDKs of the providers, and with Claude Code and Codex, on the echo provider
# and on recorded answers. Everything installed goes below target/sdk. Recordings are looked for in $KEYMUX_SHARED;
# without it the tests on them are skipped. KEYMUX_BIN tests a program that is built already. Arguments choose suites:
# tests/sdk/run.sh anthropic node
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
    "$home/venv/bin/python" -c "import openai, anthropic, google.genai, boto3, cohere, replicate, jsonschema, yaml" 2>/dev/null ||
        "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            openai 'anthropic[bedrock,vertex]' google-genai boto3 cohere replicate jsonschema pyyaml ||
        die "pip install of the SDKs did not work; is a package index reachable?"
    [ -d "$home/node/node_modules/openai" ] ||
        npm install --silent --no-audit --no-fund --prefix "$home/node" openai ||
        die "npm install openai did not work; is a package registry reachable?"
}

free_ports() {
    "$home/venv/bin/python" - <<'EOF'
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in held))
EOF
}

# Each suite gets a keymux and a provider of its own: nothing that one does can cool a key of another's. The arguments
# are where keymux's log goes and the kinds of providers it has.
start() {
    local log=$1 port admin
    shift
    "$home/venv/bin/python" tests/sdk/recorded.py >"$scratch/recorded.port" &
    running+=($!)
    for _ in {1..100}; do
        [ -s "$scratch/recorded.port" ] && break
        sleep 0.1
    done
    RECORDED_URL=http://127.0.0.1:$(cat "$scratch/recorded.port")
    "$home/venv/bin/python" tests/sdk/account.py "$RECORDED_URL/google/token"
    read -r port admin <<<"$(free_ports)"
    KEYMUX_URL=http://127.0.0.1:$port
    [[ " $* " != *" bedrock "* ]] || KEYMUX_URL=https://127.0.0.1:$port
    "$home/venv/bin/python" tests/sdk/config.py "$port" "$admin" "$@" >"$scratch/keymux.toml"
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

# The command-line clients are large programs, and not everywhere to be had.
cli() {
    if [ ! -x "$home/cli/node_modules/.bin/claude" ] || [ ! -x "$home/cli/node_modules/.bin/codex" ]; then
        if ! npm install --silent --no-audit --no-fund --prefix "$home/cli" @anthropic-ai/claude-code @openai/codex; then
            echo "sdk: cli is skipped, npm could not install Claude Code and Codex"
            return
        fi
    fi
    if ! "$home/cli/node_modules/.bin/claude" --version >/dev/null 2>&1 ||
        ! "$home/cli/node_modules/.bin/codex" --version >/dev/null 2>&1; then
        echo "sdk: cli is skipped, Claude Code or Codex does not run here"
        return
    fi
    CLI_HOME=$home/cli python cli openai anthropic vertex
}

# What must not come to nothing when one suite fails.
report() {
    if [ "$3" != 0 ]; then
        echo "sdk: the last lines of keymux's log"
        tail -n 20 "$scratch/keymux-$1.log"
    fi
    add "$2" "$3" "$4"
}

python() {
    local suite=$1 a b c
    shift
    echo "sdk: $suite"
    start "$scratch/keymux-$suite.log" "$@"
    "$home/venv/bin/python" "tests/sdk/test_$suite.py" 2>&1 | tee "$scratch/$suite.out" || true
    read -r a b c <<<"$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$scratch/$suite.out")"
    [ -n "${c-}" ] || { tail -n 20 "$scratch/keymux-$suite.log" && die "the tests of $suite did not come to their end"; }
    stop
    report "$suite" "$a" "$b" "$c"
}

node_js() {
    count() { sed -n "s/^# $1 \([0-9]*\)$/\1/p" "$scratch/node.out"; }
    echo "sdk: openai for Node.js"
    start "$scratch/keymux-node.log" openai
    SDK_HOME=$home/node node --test --test-reporter=tap tests/sdk/test_openai.mjs >"$scratch/node.out" 2>&1 || true
    stop
    [ -n "$(count pass)" ] || { cat "$scratch/node.out" && die "the Node.js tests did not come to their end"; }
    [ "$(count fail)" = 0 ] || grep -A 60 -E '^ *not ok' "$scratch/node.out" | head -n 400
    echo "$(count pass) passed, $(count fail) failed, $(count skipped) skipped"
    report node "$(count pass)" "$(count fail)" "$(count skipped)"
}

install
if [ -n "${KEYMUX_BIN-}" ]; then
    keymux=$KEYMUX_BIN
else
    cargo build --quiet
    keymux=${CARGO_TARGET_DIR:-target}/debug/keymux
fi
[ -n "${KEYMUX_SHARED-}" ] || echo "sdk: KEYMUX_SHARED is not set, tests on recorded answers are skipped"

# Credentials that share no six characters with any recorded error: keymux cuts such pieces out of what a provider says.
export SDK_CLIENT_KEY=sk-client-of-the-sdk-tests SDK_AWS_ID=AKIASDKCLIENT0000001 SDK_AWS_SECRET=Zc4uW/s8Dk+c1Yx6Jn+Gh7dRmPq3sXvTbYn0kLe2Va
export RECORDED_KEY=sk-7QzX9vJ2kWb4Yt8H RECORDED_BEDROCK_KEY=ABSKq3Vn8Rz5Lw1Xf6
export RECORDED_AWS_ID=AKIARECORDED00000002 RECORDED_AWS_SECRET=hT9k/Vr2mQ+b7Pz3LsGt0+x5BzWn8JdYcEuFa1LqKo
export RECORDED_ENTRA_SECRET=w8~Qentra7Kz.Xv3 RECORDED_ACCOUNT=$scratch/account.json
export KEYMUX_CERTIFICATE=$scratch/keymux.pem
export KEYMUX_URL RECORDED_URL KEYMUX_PROGRAM=$keymux
passed=0 failed=0 skipped=0

suites=("$@")
[ $# != 0 ] || suites=(openai node anthropic gemini cohere replicate azure vertex bedrock translated requested failover cli)
for suite in "${suites[@]}"; do
    case $suite in
        node) node_js ;;
        cli) cli ;;
        requested) python requested translated ;;
        failover) python failover openai ;;
        *) python "$suite" "$suite" ;;
    esac
done
echo "sdk: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
