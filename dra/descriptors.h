/* SPDX-License-Identifier: Apache-2.0 */
/* The process's file descriptors, before anything else opens one. */
#pragma once

struct error;

/* What `run` needs: about 30 for itself, and connections of kubelet's, to the API server and of
 * metrics' readers. With fewer it would start, and fail at odd places; gRPC aborts. */
#define DESCRIPTORS_MIN 64

/* Put /dev/null in the place of standard input, output and error where they are closed: another
 * file would get their numbers, and what is printed. Ends the process if it cannot. Needs no
 * library to be initialised. */
void descriptors_open_standard(void);

/* Raise the soft limit to the hard one. 0, or -EMFILE if that is below DESCRIPTORS_MIN, with the
 * remedy in err. */
int descriptors_raise_limit(struct error *err);
