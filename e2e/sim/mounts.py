# SPDX-License-Identifier: Apache-2.0
"""What the stand-ins that make containers share: a mount namespace and a root in it."""

import contextlib
import ctypes
import os
import stat

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_RECURSIVE = -100, 0x1000, 0x100, 0x8000
RDONLY = 1  # MOUNT_ATTR_RDONLY
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH = 1, os.O_CLOEXEC, 4
# open_tree and its kin have one number on all architectures.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442

libc = ctypes.CDLL(None, use_errno=True)


def check(result, doing):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")
    return result


class MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


def clone_tree(path, is_recursive, directory_fd=AT_FDCWD):
    """A detached copy of what is mounted at path, as a descriptor."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
    flags |= AT_RECURSIVE if is_recursive else 0
    return check(libc.syscall(SYS_OPEN_TREE, directory_fd, os.fsencode(path), flags), path)


def set_attributes(tree_fd, attributes, flags=0):
    check(libc.syscall(SYS_MOUNT_SETATTR, tree_fd, b"", AT_EMPTY_PATH | flags, ctypes.byref(attributes),
                       ctypes.sizeof(attributes)), "mount_setattr")


def attach(tree_fd, path):
    check(libc.syscall(SYS_MOVE_MOUNT, tree_fd, b"", AT_FDCWD, os.fsencode(path),
                       MOVE_MOUNT_F_EMPTY_PATH), path)
    os.close(tree_fd)


def enter_namespace():
    flags = CLONE_NEWNS
    uid, gid = os.geteuid(), os.getegid()
    if uid:
        flags |= CLONE_NEWUSER
    check(libc.unshare(flags), "unshare")
    if uid:
        for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"),
                           ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{file}", "w") as target:
                target.write(text)
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "/")


class Root:
    """A container's root of its own: a tmpfs with what is below another root mounted in it, down to
    the directories in which there will be mount points. Those are made here, for a mount point that
    the host shares would vanish when the host removes its directory, and the dead mount with it.
    Beside a mount point there is nothing: what the host has there, as in /run, no container sees.
    (An overlayfs would do, were it not for sockets: one below it cannot be connected to.)"""

    def __init__(self, mount_points, programs=None):
        """programs: names in the old root that are in the new one, too, read-only. Where it is None
        all are, as they were."""
        self._programs = programs
        self._mount_points = set(mount_points)
        self._on_the_way = {directory for path in mount_points for directory in parents(path)}
        self._bare = {os.path.dirname(path) for path in mount_points} - {"/"}

    def enter(self):
        """From the root as it is."""
        old_fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
        check(libc.mount(b"tmpfs", b"/", b"tmpfs", 0, b"mode=755"), "/")
        # Lookups begin below what was just mounted; ".." of the root is on top of it.
        os.chroot("/..")
        self._fill("/", old_fd)
        os.close(old_fd)

    def _fill(self, directory, old_fd):
        reading_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=old_fd)
        with os.scandir(reading_fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # the host lives on meanwhile
                    self._take(os.path.join(directory, entry.name), entry, old_fd)
        os.close(reading_fd)

    def _take(self, path, entry, old_fd):
        if path in self._mount_points or not self._is_kept(path):
            return
        if os.path.dirname(path) in self._bare and path not in self._on_the_way:
            return
        if entry.is_symlink():
            os.symlink(os.readlink(entry.name, dir_fd=old_fd), path)
        elif entry.is_dir() and path in self._on_the_way:
            os.mkdir(path)
            os.chmod(path, stat.S_IMODE(entry.stat().st_mode))
            below_fd = os.open(entry.name, os.O_PATH | os.O_DIRECTORY, dir_fd=old_fd)
            self._fill(path, below_fd)
            os.close(below_fd)
        else:
            tree_fd = clone_tree(entry.name, True, old_fd)
            if self._programs is not None:
                set_attributes(tree_fd, MountAttributes(set=RDONLY), AT_RECURSIVE)
            make(path, entry.is_dir())
            attach(tree_fd, path)


    def _is_kept(self, path):
        return self._programs is None or path[1:].split("/")[0] in self._programs


def parents(path):
    while (path := os.path.dirname(path)) != "/":
        yield path


def make(path, is_directory):
    """An empty directory or file, and the way to it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.mkdir(path) if is_directory else os.close(os.open(path, os.O_CREAT))


def make_missing(path, is_directory):
    if not os.path.lexists(path):
        make(path, is_directory)
