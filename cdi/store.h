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

/* directory is created (0755) if missing, also later if it vanishes (tmpfs). */
struct cdi_store *cdi_store_new(const char *directory);
void cdi_store_free(struct cdi_store *store);
DEFINE_CLEANUP(struct cdi_store, cdi_store, cdi_store_free);

/* The same directory seen through another mount; copied. It is used while the first mount shows a
 * directory that the host has removed (rm -r /var/run/cdi), because the runtime reads the new one.
 */
void cdi_store_set_other_way(struct cdi_store *store, const char *directory);

enum cdi_store_outcome {
        CDI_STORE_WRITTEN = 1 /* the file was missing or wrong, and has been rewritten */
};

/* Set the content that the file must have: n bytes, copied (NULL: no file). Then as
 * cdi_store_verify(). */
int cdi_store_set(struct cdi_store *store, const char *bytes, size_t n, struct error *err);

/* Make sure the file has the content that was set. Cheap if it has: one stat (same device, inode,
 * size, mtime and ctime as when it was last read), once the file is older than a tenth of a second.
 * 0: it has; CDI_STORE_WRITTEN; or -errno with the path and the remedy in err. Call it before every
 * answer that names a device of the spec. */
int cdi_store_verify(struct cdi_store *store, struct error *err);

/* Create the missing parts of a mount's source directory (0755, regardless of the umask): a
 * container fails to start if a CDI mount's source is missing. path: as this process sees it;
 * host_path: its name on the host, for the error's text. */
int cdi_ensure_mount_source(const char *path, const char *host_path, struct error *err);
