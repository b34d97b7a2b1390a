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

/* The part that concerns the text alone: enough where no directory of the host is mounted, but the
 * quote relay's. */
int qgs_path_check_form(const char *what, const char *path, struct error *err);

/* Where path, absolute below root, leads with every link followed below root (see host/links.h for
 * the outcomes), under the name that exists there (see qgs_path_seen()). *ret is the caller's, and
 * below root as path is. */
int qgs_path_resolve(const char *root, const char *path, char **ret);

/* ---- one place, two names: /run/X and /var/run/X (FHS 3.0, 3.15; systemd's hosts link them) ----
 */

/* The same path with /run for /var/run; points into path. */
const char *qgs_path_usual_name(const char *path);
/* Whether path is directory or lies below it, by name. /run and /var/run count as one. */
bool qgs_path_is_within(const char *path, const char *directory);
/* Whether both name one place. */
bool qgs_path_is_same(const char *a, const char *b);

/* Where this process finds a path of the host: below root ("": the process is on the host), under
 * the name that exists there. The manifests mount the host's /var/run at /host/var/run alone, and
 * if the host's / is mounted, its absolute link /var/run would lead out of root. So /run/X is
 * looked for below /var/run, and /var/run/X below /run, if only that one is a real directory. The
 * caller's. */
char *qgs_path_seen(const char *root, const char *path);

/* Whether a directory of the host, as qgs_path_seen() gives it, exists or can be created. False:
 * below root this process does not see the host's file system at that place, but (as in the
 * manifests' pod) its own read-only root, or one it may not search or write to. Always true if root
 * is "": the process sees the host itself. */
bool qgs_path_is_visible(const char *root, const char *seen_directory);
