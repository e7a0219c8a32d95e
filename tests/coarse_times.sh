#!/usr/bin/env bash
# Runs tests with their homes on a file system whose times are those of a clock that ticks some hundred times a second, so that files have
# one time after several writes: an ext3 in an image of its own, mounted through a loop device, gone afterwards. PYTHON chooses the
# interpreter; arguments go to unittest.
#
# The exit code is that of unittest; 77 if there can be no such file system here, with one line that says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() { printf 'skipped: %s\n' "$*"; exit 77; }

PATH="$PATH:/usr/sbin:/sbin"
[ "$(id -u)" = 0 ] || skip "only root can mount a file system"
command -v mkfs.ext3 >/dev/null || skip "there is no mkfs.ext3"

scratch="$(mktemp -d)"
place="$scratch/mounted"
mkdir "$place"

clean_up() {
    if mountpoint -q "$place"; then umount "$place" 2>/dev/null || umount -l "$place"; fi
    rm -rf --one-file-system "$scratch"
}
trap clean_up EXIT

truncate -s 300M "$scratch/image"
mkfs.ext3 -q -F "$scratch/image" || skip "mkfs.ext3 makes no file system here"
mount -t ext3 -o loop "$scratch/image" "$place" 2>"$scratch/said" || skip "no ext3 can be mounted: $(tail -n 1 "$scratch/said")"

"${PYTHON:-python3}" - "$place" <<'END' || skip "each write has a time of its own here, on an ext3 too"
import os, sys, time
descriptor = os.open(os.path.join(sys.argv[1], "probe"), os.O_RDWR | os.O_CREAT)
times, writes, end = set(), 0, time.monotonic() + 0.1
while time.monotonic() < end:
    os.pwrite(descriptor, b"x", 0)
    writes += 1
    times.add(os.fstat(descriptor).st_mtime_ns)
print("%d times of %d writes" % (len(times), writes))
sys.exit(len(times) > writes // 2)
END

TMPDIR="$place" "${PYTHON:-python3}" -m unittest "$@"
