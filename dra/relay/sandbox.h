/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to a worker that a VM has taken over: the memory and the descriptors that it has. No
 * user, no capability, no file, no new socket, no other process.
 *
 * The system calls that it may make are a list (seccomp(2)); any other one ends the process.
 */
#pragma once

struct error;

/* Close every descriptor but the standard three and this one, the fourth. */
void sandbox_close_others(int kept_fd);

/* Become this user and group for good, with no other groups, and give up everything else. If this
 * process is not root, the user must be its own. *ret_n_descriptors: RLIMIT_NOFILE, raised as far
 * as it goes.
 *
 * Afterwards nothing can be opened: what needs a descriptor of its own, such as a loop, must have
 * it before. */
int sandbox_enter(unsigned uid, unsigned gid, unsigned *ret_n_descriptors, struct error *err);
