"""What each system does in its own way: files. (What is tested on each system is test_platforms.)"""
from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import unittest

from core import system
from core.system import make_folder, open_private, remove_file, write_file
from tests.support.home import ROOT, HomeTest, product_modules

POSIX = os.name == "posix"


class OwnersTest(unittest.TestCase):
    """Where the differences live."""

    def test_only_these_modules_ask_which_system_this_is(self):
        asks = re.compile(r"\bWINDOWS\b|\bos\.name\b|\bsys\.platform\b|\bimport platform\b")
        asking = []
        for path in product_modules():
            with open(path, encoding="utf-8") as file:
                if asks.search(file.read()):
                    asking.append(os.path.basename(path))
        self.assertEqual(sorted(asking), ["console.py", "launcher.py", "launcher_posix.py", "launcher_windows.py", "locks.py", "process_tree.py", "system.py"])


class FilesTest(HomeTest):

    def with_umask(self, mask):
        self.addCleanup(os.umask, os.umask(mask))

    @unittest.skipUnless(POSIX, "modes of POSIX")
    def test_new_file_is_its_owners_alone_whatever_the_umask(self):
        for mask in (0, 0o002, 0o022, 0o077):
            with self.subTest(oct(mask)):
                self.with_umask(mask)
                path = self.path("file-%o" % mask)
                os.close(open_private(path, os.O_WRONLY | os.O_CREAT))
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    @unittest.skipUnless(POSIX, "modes of POSIX")
    def test_new_folders_are_their_owners_alone_whatever_the_umask(self):
        for mask in (0, 0o022, 0o077):
            with self.subTest(oct(mask)):
                self.with_umask(mask)
                make_folder(self.path("a-%o" % mask, "b", "c"))
                for names in ((), ("b",), ("b", "c")):
                    self.assertEqual(stat.S_IMODE(os.stat(self.path("a-%o" % mask, *names)).st_mode), 0o700)

    def test_folder_that_is_there_stays_as_it_is(self):
        os.mkdir(self.path("logs"))
        os.chmod(self.path("logs"), 0o755)
        self.write("logs/file", "kept")
        before = os.stat(self.path("logs")).st_mode
        make_folder(self.path("logs"))
        self.assertEqual((os.stat(self.path("logs")).st_mode, self.read("logs/file")), (before, b"kept"))

    def test_folder_in_place_of_a_file_is_an_error(self):
        self.write("file", "")
        with self.assertRaises(OSError):
            make_folder(self.path("file", "below"))

    @unittest.skipUnless(POSIX, "symbolic links need rights on Windows")
    def test_symbolic_link_is_not_followed(self):
        self.write("target", "precious")
        os.symlink(self.path("target"), self.path("link"))
        os.symlink(self.path("nowhere"), self.path("dangling"))
        for name, flags in (("link", os.O_RDONLY), ("link", os.O_RDWR), ("link", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                            ("dangling", os.O_WRONLY | os.O_CREAT)):
            with self.subTest(name, flags=flags):
                with self.assertRaises(OSError):
                    os.close(open_private(self.path(name), flags))
        self.assertEqual(self.read("target"), b"precious")
        self.assertFalse(os.path.exists(self.path("nowhere")))

    def test_descriptor_is_not_inherited(self):
        descriptor = open_private(self.path("file"), os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, descriptor)
        self.assertFalse(os.get_inheritable(descriptor))

    def test_line_ends_are_written_as_they_are(self):
        descriptor = open_private(self.path("file"), os.O_WRONLY | os.O_CREAT)
        try:
            system.pwrite(descriptor, b"a\nb\r\n\x1a", 0)
        finally:
            os.close(descriptor)
        self.assertEqual(self.read("file"), b"a\nb\r\n\x1a")

    def test_reads_and_writes_go_to_their_offsets(self):
        descriptor = open_private(self.path("file"), os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, descriptor)
        self.assertEqual(system.pwrite(descriptor, b"abcdef", 0), 6)
        self.assertEqual(system.pwrite(descriptor, b"XY", 2), 2)
        self.assertEqual((system.pread(descriptor, 3, 1), system.pread(descriptor, 10, 4), system.pread(descriptor, 3, 6)),
                         (b"bXY", b"ef", b""))

    def test_written_file_replaces_the_old_one_whole(self):
        self.write("file", "old and longer")
        write_file(self.path("file"), b"new")
        self.assertEqual((self.read("file"), os.listdir(self.home)), (b"new", ["file"]))

    @unittest.skipUnless(POSIX, "resource limits of POSIX")
    def test_file_that_cannot_be_written_whole_leaves_the_old_one(self):
        self.write("file", "old")
        code = ("import resource, sys; from core.system import write_file\n"
                "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
                "try:\n"
                "    write_file(sys.argv[1], b'x' * 5000)\n"
                "except OSError as error:\n"
                "    print('refused')\n")
        for limit in ("0", "4999"):
            with self.subTest(limit):
                printed = subprocess.check_output([sys.executable, "-c", code, self.path("file"), limit], cwd=ROOT)
                self.assertEqual((printed.strip(), self.read("file"), os.listdir(self.home)), (b"refused", b"old", ["file"]))

    def test_leftover_of_a_write_that_was_killed_is_no_obstacle(self):
        self.write("file.new", "half")
        write_file(self.path("file"), b"new")
        self.assertEqual((self.read("file"), os.listdir(self.home)), (b"new", ["file"]))

    def test_removing_what_is_not_there_is_no_fault(self):
        self.write("file", "")
        remove_file(self.path("file"))
        remove_file(self.path("file"))
        self.assertEqual(os.listdir(self.home), [])


@unittest.skipUnless(hasattr(os, "mkfifo"), "needs FIFOs")
class FifoTest(HomeTest):
    def test_one_that_cannot_be_opened_is_not_left_behind(self):
        def refuse(*arguments):
            raise PermissionError(13, "refused")

        self.addCleanup(setattr, os, "open", os.open)
        os.open = refuse
        self.assertIsNone(system.make_fifo(self.path("fifo")))
        self.assertEqual(os.listdir(self.home), [])


@unittest.skipUnless(POSIX, "the table is a system's that has one")
class BootTest(HomeTest):
    @unittest.skipUnless(os.path.exists("/proc/sys/kernel/random/boot_id"), "the system tells of no boots")
    def test_all_processes_of_one_boot_know_it_by_the_same_id(self):
        other = subprocess.run([sys.executable, "-c", "from core.system import boot_id; print(boot_id())"], cwd=ROOT, check=True,
                               stdout=subprocess.PIPE, universal_newlines=True)
        self.assertRegex(system.boot_id(), r"\A[0-9a-f-]{36}\Z")
        self.assertEqual(other.stdout, system.boot_id() + "\n")


if __name__ == "__main__":
    unittest.main()
