/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects to the Quote Generation Service, with the groups that let a VM in if CAP_SETGID allows
 * (host/vm_groups), and never blocks. The caller must then send a whole request and wait for
 * the reply or QGS's own timeout (host/qgs_probe.h).
 */
#pragma once

#include <sys/types.h>

/* To a path as this process sees it, which may be longer than sun_path; group: VM_GROUPS_NONE or
 * one. Returns the descriptor (SOCK_NONBLOCK), or connect(2)'s -errno. */
int qgs_connect(const char *path, gid_t group);

/* To a socket of the host, named as the host names it, below root (host/qgs_look.h). All its links
 * are followed, and the group is that of the socket, or of its directory if anyone may write to the
 * socket. As above; -ENOENT: there is no socket. */
int qgs_connect_on_host(const char *root, const char *socket);
