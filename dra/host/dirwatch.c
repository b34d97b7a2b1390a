/* SPDX-License-Identifier: Apache-2.0 */
#include "host/dirwatch.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

struct dirwatch {
        uv_fs_event_t event;
        char *path;
        char *name; /* NULL: any */
        void (*on_change)(void *owner);
        void *owner;
        bool is_watching;
        dev_t device;
        ino_t inode;
};

/* libuv reports changes of the directory itself under the directory's base name. */
static bool is_of_itself(const struct dirwatch *watch, const char *name)
{
        const char *slash = strrchr(watch->path, '/');

        return !name || strcmp(slash ? slash + 1 : watch->path, name) == 0;
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
        struct dirwatch *watch = event->data;
        bool is_itself = is_of_itself(watch, name);

        /* The directory may be gone, and its successor may reuse the inode number, so watch again
         * in any case. */
        watch->is_watching &= !is_itself;
        if (is_itself || !watch->name || strcmp(watch->name, name) == 0)
                watch->on_change(watch->owner);
}

struct dirwatch *dirwatch_new_for(uv_loop_t *loop, const char *path, const char *name,
                                  void (*on_change)(void *owner), void *owner)
{
        struct dirwatch *watch = xcalloc(1, sizeof(*watch));

        watch->path = xstrdup(path);
        watch->name = name ? xstrdup(name) : NULL;
        watch->on_change = on_change;
        watch->owner = owner;
        uv_fs_event_init(loop, &watch->event);
        watch->event.data = watch;
        dirwatch_check(watch);
        return watch;
}

struct dirwatch *dirwatch_new(uv_loop_t *loop, const char *path, void (*on_change)(void *owner),
                              void *owner)
{
        return dirwatch_new_for(loop, path, NULL, on_change, owner);
}

/* Both limits are per user, and root's are shared by the whole host. Once for all directories: what
 * to do about it is the same. */
static void tell_exhausted(const struct dirwatch *watch, int r)
{
        static bool is_told;

        if (!is_told)
                log_warn("cannot watch directories: changes in them are noticed at each "
                         "--poll-interval only. Raise the host's sysctl",
                         log_str("sysctl", r == UV_ENOSPC ? "fs.inotify.max_user_watches"
                                                          : "fs.inotify.max_user_instances"),
                         log_str("directory", watch->path));
        is_told = true;
}

void dirwatch_check(struct dirwatch *watch)
{
        struct stat now;
        int r;

        if (stat(watch->path, &now) < 0) {
                watch->is_watching = false;
                uv_fs_event_stop(&watch->event);
                return;
        }
        if (watch->is_watching && now.st_dev == watch->device && now.st_ino == watch->inode)
                return;
        uv_fs_event_stop(&watch->event);
        /* If inotify watches run out, the slow timer that calls this still notices changes. */
        r = uv_fs_event_start(&watch->event, on_event, watch->path, 0);
        if (r == UV_EMFILE || r == UV_ENOSPC)
                tell_exhausted(watch, r);
        watch->is_watching = r == 0;
        watch->device = now.st_dev;
        watch->inode = now.st_ino;
}

static void on_closed(uv_handle_t *handle)
{
        struct dirwatch *watch = handle->data;

        free(watch->path);
        free(watch->name);
        free(watch);
}

void dirwatch_free(struct dirwatch *watch)
{
        if (watch)
                uv_close((uv_handle_t *)&watch->event, on_closed);
}
