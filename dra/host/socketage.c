/* SPDX-License-Identifier: Apache-2.0 */
#include "host/socketage.h"

#include <sys/stat.h>

bool socket_identify(const char *path, struct socket_identity *ret)
{
        struct stat file;

        if (stat(path, &file) < 0 || !S_ISSOCK(file.st_mode))
                return false;
        *ret = (struct socket_identity){ file.st_dev, file.st_ino, file.st_ctim };
        return true;
}

bool socket_identity_equal(const struct socket_identity *a, const struct socket_identity *b)
{
        return a->device == b->device && a->inode == b->inode &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

uint64_t socket_age_ms(struct socket_age *age, const char *path, uint64_t now_ms)
{
        struct socket_identity file;
        struct timespec now;
        int64_t by_file_ms;
        uint64_t seen_for_ms;

        if (!socket_identify(path, &file))
                return UINT64_MAX;
        if (!socket_identity_equal(&file, &age->file)) {
                age->file = file;
                age->since_ms = now_ms;
        }
        seen_for_ms = now_ms - age->since_ms;
        /* Only the file's time shows an age from before our own start. */
        clock_gettime(CLOCK_REALTIME, &now);
        by_file_ms = (int64_t)(now.tv_sec - file.changed.tv_sec) * 1000 +
                     (now.tv_nsec - file.changed.tv_nsec) / 1000000;
        return by_file_ms > (int64_t)seen_for_ms ? (uint64_t)by_file_ms : seen_for_ms;
}
