"""What is to be known of the file system that a home is on: whether locks hold there, and whether it keeps the modes of files."""
from __future__ import annotations

import os

# File systems of other machines, by Linux's names: whether a lock there keeps out a process on another one, and whether it ends with its
# process, depends on servers and mount options.
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "ceph", "lustre", "glusterfs", "virtiofs", "fuse.sshfs",
                     "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph-fuse", "fuse.davfs", "davfs"))


def remote_file_system(folder, mounts="/proc/self/mounts"):
    """The kind of a folder's file system if it is another machine's; None if not, or not known. `mounts` is a table as in fstab(5)."""
    folder = os.path.realpath(folder)
    if folder.startswith("\\\\"):  # a share of Windows; elsewhere a path starts with /
        return None if folder.startswith("\\\\?\\") else "network drive"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return None
    kind, longest = None, -1
    for row in rows:
        # Spaces and the like are written as octal numbers there.
        place = row[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").rstrip("/")
        if (folder == place or folder.startswith(place + "/")) and len(place) >= longest:
            kind, longest = row[2], len(place)
    return kind if kind in _REMOTE else None


def keeps_modes(folder):
    """Whether the file system of a folder keeps the modes of files. NTFS, exFAT and a disk of Windows in WSL do not. A new file shows it;
    where none can be made, the answer is yes."""
    path = os.path.join(folder, ".queuectl-%s" % os.urandom(8).hex())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return True
    try:
        return not os.fstat(descriptor).st_mode & 0o002
    finally:
        os.close(descriptor)
        os.unlink(path)
