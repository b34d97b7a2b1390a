/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SELinux: a VM's container may use files of the type container_file_t alone, but what is made
 * below /run gets another one. So the relay labels its directories and sockets, with the level s0,
 * because VMs of every category use them. (A VM's connect also asks whether container_t may connect
 * to the relay's own type: the manifests make it spc_t, which the stock policy allows.)
 *
 * Where the relay's directory has no label, SELinux is off, and nothing is done.
 */
#pragma once

#include <stdbool.h>

#define LABEL_OF_VM_FILES "system_u:object_r:container_file_t:s0"

/* Whether files at this descriptor have labels. */
bool label_is_used(int fd);
/* Label a file for VMs; a link is not followed. 0 or -errno. */
int label_for_vms(const char *path);
