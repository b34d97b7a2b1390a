/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's Quote Generation Service: where its socket is and whether its directory may be shown
 * to a VM.
 *
 * The directory is mounted, never the socket file: a bound socket file is dead after every QGS
 * restart. So the directory must be QGS's own. VEP 107's second example, /var/run/qgs.socket, would
 * show all of /var/run to the VM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;

#define QGS_PATH_DEFAULT "/var/run/tdx-qgs/qgs.socket"
#define QGS_PATH_MAX     107 /* bytes of a path that fit sun_path with its NUL (unix(7)) */

/* Check a socket path, given by the option or field called what. Refused with -EINVAL, the reason
 * and the remedy: not absolute, "." or "..", empty components, control characters, too long, a
 * trailing slash, or a directory that is shared with others (/, /run, /var/run, /tmp, /dev, /etc,
 * /usr/..., /home/..., kubelet's, container runtimes', ...), both as written and after resolving
 * symbolic links below root ("" for the host itself; a path that does not exist yet is resolved as
 * far as it does). */
int qgs_path_check(const char *what, const char *path, const char *root, struct error *err);

/* Where path, absolute below root, leads with every link followed below root (see host/links.h for
 * the outcomes). *ret is the caller's, and below root as path is. */
int qgs_path_resolve(const char *root, const char *path, char **ret);

/* Is path directory, or below it? Both as written, without final slashes. */
bool qgs_path_is_within(const char *path, const char *directory);
/* The same path with /run for /var/run, which are one place on a host; points into path. */
const char *qgs_path_usual_name(const char *path);
