"""Tests of what is known of the file system that a home is on."""
from __future__ import annotations

import os
import unittest

from core.file_systems import remote_file_system
from tests.support.home import HomeTest


class RemoteFileSystemTest(HomeTest):
    """A home where locks cannot be relied on is recognised."""

    def kind(self, *rows, path=None):
        self.write("mounts", "".join("%s %s %s rw 0 0\n" % row for row in rows))
        return remote_file_system(path or self.home, self.path("mounts"))

    def test_the_mount_that_is_nearest_counts(self):
        home = os.path.realpath(self.home)
        outer = os.path.dirname(home)
        self.assertEqual(self.kind(("/dev/sda", "/", "ext4"), ("server:/x", outer, "nfs4")), "nfs4")
        self.assertIsNone(self.kind(("server:/", "/", "nfs4"), ("tmpfs", home, "tmpfs")))
        self.assertIsNone(self.kind(("/dev/sda", "/", "ext4"), ("server:/x", home + "-other", "nfs4")))
        self.assertEqual(self.kind(("/dev/sda", home, "ext4"), ("host:", home, "fuse.sshfs")), "fuse.sshfs")

    def test_places_with_spaces_are_read(self):
        folder = self.path("a b")
        os.mkdir(folder)
        self.assertEqual(self.kind(("//server/x", os.path.realpath(folder).replace(" ", "\\040"), "cifs"), path=folder), "cifs")

    def test_where_there_is_no_table_nothing_is_known(self):
        self.assertIsNone(remote_file_system(self.home, self.path("none")))


if __name__ == "__main__":
    unittest.main()
