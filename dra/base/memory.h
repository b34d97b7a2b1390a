/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation and ownership.
 *
 * Out of memory aborts: gRPC does so anyway, and the state on disk survives it. Every owning local
 * carries a cleanup attribute and starts empty; ownership leaves by take_ptr() or take_fd(), the
 * last thing before success.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Call it first: blocks of 128 KiB or more go back to the kernel when they are freed. */
void memory_init(void);

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xreallocarray(void *old, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *string) __attribute__((malloc, returns_nonnull));
/* The first n bytes as a string; an embedded NUL ends it early. */
char *xstrndup(const char *bytes, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...)
        __attribute__((format(printf, 1, 2), malloc, returns_nonnull));
char *xvasprintf(const char *format, va_list args)
        __attribute__((format(printf, 1, 0), malloc, returns_nonnull));

#define array_size(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member) \
        ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Defines cleanup_<name>(): a local marked _cleanup_(name) is passed to
 * free_function when it goes out of scope, unless it is NULL by then. */
#define DEFINE_CLEANUP(type, name, free_function)         \
        static inline void cleanup_##name(type **pointer) \
        {                                                 \
                if (*pointer)                             \
                        free_function(*pointer);          \
        }                                                 \
        _Static_assert(1, "takes the semicolon")

/* _cleanup_(x) type *local = NULL; */
#define _cleanup_(name) __attribute__((cleanup(cleanup_##name)))

static inline void cleanup_free(void *pointer)
{
        free(*(void **)pointer);
}

static inline void cleanup_close(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

/* Hands over what the variable owns and leaves NULL behind. */
#define take_ptr(variable)                                \
        __extension__({                                   \
                __typeof__(variable) taken_ = (variable); \
                (variable) = NULL;                        \
                taken_;                                   \
        })

static inline int take_fd(int *fd)
{
        int value = *fd;

        *fd = -1;
        return value;
}
