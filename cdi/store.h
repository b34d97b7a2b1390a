/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CDI spec as a file in the runtime's directory (/var/run/cdi): atomically replaced within that
 * directory, since runtimes notice a rename there and nothing else (CDI pkg/cdi/cache.go); restored
 * when someone deletes or damages it.
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

struct cdi_store;
struct error;

/* directory is created (0755) where missing, also later if it vanishes (tmpfs). */
struct cdi_store *cdi_store_new(const char *directory);
void cdi_store_free(struct cdi_store *store);
DEFINE_CLEANUP(struct cdi_store, cdi_store, cdi_store_free);

/* Where the same directory is seen by another mount, copied: it is used while the mount of the
 * first shows a directory that the host has removed (rm -r /var/run/cdi), for the runtime reads the
 * new one. */
void cdi_store_set_other_way(struct cdi_store *store, const char *directory);

enum cdi_store_outcome {
        CDI_STORE_WRITTEN = 1 /* the file was not as it must be, and is now */
};

/* What the file must hold from now on: n bytes, copied (NULL: no file), then as cdi_store_verify().
 */
int cdi_store_set(struct cdi_store *store, const char *bytes, size_t n, struct error *err);

/* Make sure the file holds what was set. Cheap where it does: one stat (same device, inode, size,
 * mtime and ctime as when it was last read), once the file is older than a tenth of a second. 0: it
 * does; CDI_STORE_WRITTEN; or -errno with the path and the remedy in err. Call it before every
 * answer that names a device of the spec. */
int cdi_store_verify(struct cdi_store *store, struct error *err);

/* Create the directory a mount needs (0755 whatever the umask, only what is missing): CDI mounts of
 * a missing path fail the container. */
int cdi_ensure_mount_source(const char *host_path, struct error *err);
