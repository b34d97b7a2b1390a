/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors with a text for the person who must act.
 *
 * A function that can fail for a reason worth reading takes a `struct error *` as its last argument
 * and returns a negative errno. Callers prefix their own context and forward the code unchanged.
 * The text ends in exactly one place: a gRPC reply, a Kubernetes Event or a log line.
 */
#pragma once

#define ERROR_TEXT_SIZE \
        512 /* bytes, the terminating NUL included; longer texts are cut at a character */

struct error {
        int code; /* 0: no error; otherwise negative errno */
        char text[ERROR_TEXT_SIZE];
};

#define ERROR_NULL \
        {          \
                0  \
        }

/* Store code and text; err may be NULL. Returns code, so that a caller can fail in one expression.
 */
int error_set(struct error *err, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* As error_set(), with ": <strerror(-code)>" appended. */
int error_errno(struct error *err, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Put "<context>: " before the text. Returns nothing, so that a caller without err cannot forward
 * success. */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
