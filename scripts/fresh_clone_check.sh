#!/usr/bin/env bash
# What a person meets on a fresh machine: a copy of this tree (what git has or would commit) in a folder with a space in
# its name, an empty home directory, `make run`, a message, a stream, the end.
#
#   scripts/fresh_clone_check.sh [--test] [plain|uv|pure|nocc ...]
#
#   plain  without uv, with the C compiler          pure   CCPROXY_PURE=1: nothing is compiled
#   uv     with uv (left out where there is none)   nocc   CC=/bin/false: the compiler fails
#   --test runs `make test` too
set -euo pipefail
cd "$(dirname "$0")/.."

with_tests=
variants=()
for word in "$@"; do
    if [ "$word" = --test ]; then with_tests=1; else variants+=("$word"); fi
done
[ ${#variants[@]} -gt 0 ] || variants=(plain uv pure nocc)

work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill -KILL -- "-$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

# PATH without the folders that hold uv.
path_without_uv() {
    local IFS=: kept=() folder
    for folder in $PATH; do
        if [ ! -x "$folder/uv" ]; then kept+=("$folder"); fi
    done
    echo "${kept[*]}"
}

# How this machine reaches its packages is its own affair; everything else of the caller's environment stays out.
passed=()
while IFS= read -r name; do
    passed+=("$name=${!name}")
done < <(compgen -e | grep -E '^(PIP_|UV_|SSL_CERT_|REQUESTS_CA_BUNDLE$|LANG$|[A-Za-z]+_(proxy|PROXY)$)' || true)

fail() {
    echo "FAILED ($variant): $1" >&2
    tail -n 40 "$folder.log" >&2
    exit 1
}

check() {
    variant=$1
    local home="$work/$variant/home" extra=() path port started
    folder="$work/$variant/a copy"
    path=$(path_without_uv)
    case $variant in
        plain) ;;
        uv)
            path=$PATH
            if ! command -v uv >/dev/null; then echo "uv: left out, there is no uv here"; return; fi
            ;;
        pure) extra=(CCPROXY_PURE=1) ;;
        nocc) extra=(CC=/bin/false) ;;
        *) echo "no such variant: $variant" >&2; exit 2 ;;
    esac
    mkdir -p "$home" "$folder"
    git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
        if [ -e "$file" ]; then printf '%s\0' "$file"; fi
    done | tar --null -T - -cf - | tar -xf - -C "$folder"
    cd "$folder"
    local clean=(env -i HOME="$home" PATH="$path" "${passed[@]}" "${extra[@]}")

    port=$("${clean[@]}" python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    started=$SECONDS
    set -m # a process group of its own, as a terminal gives it
    "${clean[@]}" PORT="$port" CCPROXY_DEMO_PACE=0 make run >"$folder.log" 2>&1 </dev/null &
    server=$!
    set +m
    until curl -fsS --noproxy '*' -o "$work/answer" "http://127.0.0.1:$port/ready" 2>/dev/null; do
        kill -0 "$server" 2>/dev/null || fail "make run ended"
        [ $((SECONDS - started)) -lt 600 ] || fail "not ready within ten minutes"
        sleep 0.2
    done
    echo "$variant: ready after $((SECONDS - started)) s"

    local body='{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"Hello"}]'
    curl -fsS --noproxy '*' "http://127.0.0.1:$port/v1/messages" -H 'content-type: application/json' \
        -H 'anthropic-version: 2023-06-01' -d "$body}" >"$work/answer" || fail "a message"
    grep -q '"type":"message"' "$work/answer" || fail "a message: $(cat "$work/answer")"
    curl -fsSN --noproxy '*' "http://127.0.0.1:$port/v1/messages" -H 'content-type: application/json' \
        -H 'anthropic-version: 2023-06-01' -d "$body,\"stream\":true}" >"$work/answer" || fail "a stream"
    grep -q 'event: message_stop' "$work/answer" || fail "a stream: $(cat "$work/answer")"
    echo "$variant: a message and a stream"

    kill -INT -- "-$server" # Ctrl-C
    for _ in $(seq 150); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
    if kill -0 "$server" 2>/dev/null; then fail "still there 15 s after Ctrl-C"; fi
    server=
    if grep -q Traceback "$folder.log"; then fail "a traceback"; fi

    case $variant in
        pure | nocc) if compgen -G "ccproxy_sanic/sse/*.so" >/dev/null; then fail "an extension was built"; fi ;;
        *) compgen -G "ccproxy_sanic/sse/*.so" >/dev/null || echo "$variant: no C extension was built here" ;;
    esac
    # The second time must need no network: an index that is not there would be noticed.
    env -i HOME="$home" PATH="$path" "${extra[@]}" PIP_NO_INDEX=1 UV_OFFLINE=1 make setup-run >>"$folder.log" 2>&1 ||
        fail "the second make setup-run"
    grep -q 'is ready' <(tail -n 1 "$folder.log") || fail "the second make setup-run did something"

    if [ -n "$with_tests" ]; then
        "${clean[@]}" make test </dev/null
    fi
    cd "$OLDPWD"
    rm -rf "${work:?}/$variant"
    echo "$variant: ok"
}

for variant in "${variants[@]}"; do
    check "$variant"
done
