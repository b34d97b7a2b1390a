/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a path leads if its symbolic links are followed as a process with another root would follow
 * them: the host, which the driver's container has below --host-root, or a VM's container.
 */
#pragma once

/* Where this process sees path, which is absolute in that other root and has no link above its last
 * component. *ret_file is the caller's; NULL: what is there is not a link. A negative result ends
 * the walk. */
typedef int links_find(void *owner, const char *path, char **ret_file);

/* Follow every link of path (absolute). *ret is the caller's: the path without links, ".." and ".",
 * "" for the root itself. A component that does not exist is kept as written, and ".." of the root
 * is the root. -ELOOP after as many links as the kernel allows, -ENAMETOOLONG, what find returned,
 * or the errno of readlink(2). */
int links_resolve(const char *path, links_find *find, void *owner, char **ret);
