/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/label.h"

#include <errno.h>
#include <stddef.h>
#include <sys/xattr.h>

#define ATTRIBUTE "security.selinux"

bool label_is_used(int fd)
{
        return fgetxattr(fd, ATTRIBUTE, NULL, 0) > 0;
}

int label_for_vms(const char *path)
{
        return lsetxattr(path, ATTRIBUTE, LABEL_OF_VM_FILES, sizeof(LABEL_OF_VM_FILES), 0) < 0
                       ? -errno
                       : 0;
}
