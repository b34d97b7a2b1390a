/* SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/timer.h"
#include "config.h"
#include "rpc/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Poll while standing by: waiting for a file lock without polling would take a thread. */
#define RETRY_MS 50

/* One of the two locks. */
struct lock {
        char *directory;
        const char *name;
        int fd; /* -1: none */
        bool is_ours;
};

struct instance {
        struct timer *timer;
        struct lock registry;
        struct lock state;
        void (*on_active)(void *owner);
        void *owner;
};

/* True if the path still leads to the open file: it may have been removed, renamed with its
 * directory, or hidden by a mount. */
static bool is_in_place(const struct lock *lock)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", lock->directory, lock->name);
        struct stat open_file, found;

        return lock->fd >= 0 && fstat(lock->fd, &open_file) == 0 && lstat(path, &found) == 0 &&
               file_is_same(&open_file, &found);
}

static int open_lock(const struct lock *lock, int directory_fd, int *ret_fd, struct error *err)
{
        /* Open read-only: a descriptor open for writing would keep an admin from remounting the
         * disk read-only. */
        int fd =
                openat(directory_fd, lock->name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return error_errno(err, -errno, "cannot open %s/%s", lock->directory, lock->name);
        *ret_fd = fd;
        return 0;
}

static int open_state_lock(const struct lock *lock, int *ret_fd, struct error *err)
{
        _cleanup_(close) int directory_fd = -1;
        int r = file_open_directory(lock->directory, 0700, &directory_fd, err);

        return r < 0 ? r : open_lock(lock, directory_fd, ret_fd, err);
}

/* kubelet creates the registry; we must not. */
static int open_registry_lock(const struct lock *lock, int *ret_fd)
{
        _cleanup_(close) int directory_fd =
                open(lock->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return directory_fd < 0 ? -errno : open_lock(lock, directory_fd, ret_fd, NULL);
}

static void replace_fd(struct lock *lock, int fd)
{
        if (lock->fd >= 0)
                close(lock->fd);
        /* Closing the old descriptor released its lock. */
        lock->fd = fd;
        lock->is_ours = false;
}

static bool try_lock(struct lock *lock)
{
        lock->is_ours = lock->is_ours || flock(lock->fd, LOCK_EX | LOCK_NB) == 0;
        return lock->is_ours;
}

/* False: another instance holds the lock. If no file can be created in the registry, continue
 * without its lock. */
static bool take_registry(struct instance *instance)
{
        int fd = -1;

        if (!is_in_place(&instance->registry)) {
                if (open_registry_lock(&instance->registry, &fd) < 0)
                        return true;
                replace_fd(&instance->registry, fd);
        }
        return try_lock(&instance->registry);
}

/* 0; -EBUSY: another instance holds the lock; any other -errno: the lock that we hold is kept. */
static int take_state(struct instance *instance, struct error *err)
{
        struct lock *lock = &instance->state;
        int fd = -1, r;

        if (!is_in_place(lock)) {
                r = open_state_lock(lock, &fd, err);
                if (r < 0)
                        return r;
                replace_fd(lock, fd);
        }
        return try_lock(lock) ? 0 : -EBUSY;
}

/* The registry's lock first: an instance that waits for it must not hold the state directory's,
 * which the active instance needs after its directory was replaced. */
static int take_both(struct instance *instance, struct error *err)
{
        return take_registry(instance) ? take_state(instance, err) : -EBUSY;
}

static void on_retry(void *owner)
{
        struct instance *instance = owner;

        if (take_both(instance, NULL) < 0)
                return;
        timer_stop(instance->timer);
        instance->on_active(instance->owner);
}

int instance_check(struct instance *instance, struct error *err)
{
        int r;

        (void)take_registry(instance);
        r = take_state(instance, err);
        if (r == -EBUSY)
                error_set(err, r,
                          "%s/lock was taken away while this instance held it, and another "
                          "instance has taken its place",
                          instance->state.directory);
        return r;
}

static void instance_unlock(struct instance *instance)
{
        replace_fd(&instance->registry, -1);
        replace_fd(&instance->state, -1);
        free(instance->registry.directory);
        free(instance->state.directory);
}

int instance_start(uv_loop_t *loop, const struct config *config, void (*on_active)(void *owner),
                   void *owner, struct instance **ret, struct error *err)
{
        struct instance *instance = xcalloc(1, sizeof(*instance));
        int r;

        instance->registry =
                (struct lock){ .name = "." DRIVER_NAME ".lock",
                               .directory = file_directory_of(config->registration_socket),
                               .fd = -1 };
        instance->state =
                (struct lock){ .name = "lock", .directory = xstrdup(config->state_dir), .fd = -1 };
        instance->on_active = on_active;
        instance->owner = owner;
        r = take_both(instance, err);
        if (r < 0 && r != -EBUSY) {
                instance_unlock(instance);
                free(instance);
                return r;
        }
        instance->timer = timer_new(loop, on_retry, instance);
        *ret = instance;
        if (!r)
                return 0;
        timer_start_repeating(instance->timer, RETRY_MS, RETRY_MS);
        return INSTANCE_STANDBY;
}

void instance_free(struct instance *instance)
{
        if (!instance)
                return;
        instance_unlock(instance);
        timer_free(instance->timer);
        free(instance);
}

/* During a rolling update instances use different socket names, so check all that fit the pattern.
 * A socket with a listener belongs to a live instance and stays. */
static int sweep(const char *path, const char *prefix, const char *suffix, struct error *err)
{
        _cleanup_(free) char *directory_path = file_directory_of(path);
        const struct dirent *entry;
        DIR *directory;

        directory = opendir(directory_path);
        if (!directory)
                return error_errno(err, -errno, "cannot read directory %s", directory_path);
        while ((entry = readdir(directory))) {
                size_t n = strlen(entry->d_name), n_suffix = strlen(suffix);
                _cleanup_(free) char *candidate = NULL;

                if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || n < n_suffix ||
                    strcmp(entry->d_name + n - n_suffix, suffix) != 0)
                        continue;
                candidate = xasprintf("%s/%s", directory_path, entry->d_name);
                (void)rpc_listener_sweep_dead(candidate);
        }
        closedir(directory);
        return 0;
}

int instance_sweep_sockets(const struct config *config, struct error *err)
{
        int r;

        r = sweep(config->dra_socket, "dra", ".sock", err);
        if (!r)
                r = sweep(config->registration_socket, DRIVER_NAME, "-reg.sock", err);
        return r;
}
