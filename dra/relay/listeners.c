/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/listeners.h"

#include "base/error.h"
#include "base/file.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/table.h"
#include "relay/label.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The most that Linux gives by default (net.core.somaxconn): QEMU must never block in connect. */
#define BACKLOG 4096
/* A socket is bound by this name and then renamed. */
#define TEMPORARY ".bind"
/* Every change of the VMs' path adds a name. Beyond this something is wrong with who changes it. */
#define NAMES_MAX 16

struct entry {
        struct list in_order;
        struct table_node by_key;
        char *key; /* "claim-tdx5/qgs.socket" */
        struct listener listener;
};

struct listeners {
        char *directory;
        int directory_fd;
        int qgs_fd; /* of <directory>/qgs */
        bool has_labels;
        listeners_on_added *on_added;
        void *owner;
        struct list entries;
        struct table by_key;
        uint32_t next_id;
};

/* mkdir(2) minds the umask. */
static int open_at(int dir_fd, const char *name, mode_t mode, int *ret_fd, const char *shown,
                   struct error *err)
{
        _cleanup_(close) int fd = -1;
        struct stat file;

        if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "cannot create directory %s", shown);
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, -errno, "cannot open directory %s", shown);
        if (fstat(fd, &file) < 0 || ((file.st_mode & 07777) != mode && fchmod(fd, mode) < 0))
                return error_errno(err, -errno, "cannot set the mode of %s", shown);
        *ret_fd = take_fd(&fd);
        return 0;
}

static int open_directories(struct listeners *listeners, struct error *err)
{
        _cleanup_(close) int made_fd = -1;
        _cleanup_(free) char *qgs = xasprintf("%s/qgs", listeners->directory);
        int r;

        r = file_open_directory(listeners->directory, 0700, &made_fd, err);
        if (!r)
                r = open_at(AT_FDCWD, listeners->directory, 0700, &listeners->directory_fd,
                            listeners->directory, err);
        if (!r)
                r = open_at(listeners->directory_fd, "qgs", 0755, &listeners->qgs_fd, qgs, err);
        if (!r)
                listeners->has_labels = label_is_used(listeners->directory_fd);
        return r;
}

int listeners_new(const char *directory, listeners_on_added *on_added, void *owner,
                  struct listeners **ret, struct error *err)
{
        struct listeners *listeners = xcalloc(1, sizeof(*listeners));
        int r;

        listeners->directory = xstrdup(directory);
        listeners->directory_fd = listeners->qgs_fd = -1;
        listeners->on_added = on_added;
        listeners->owner = owner;
        list_init(&listeners->entries);
        r = open_directories(listeners, err);
        if (r < 0) {
                listeners_free(listeners);
                return r;
        }
        *ret = listeners;
        return 0;
}

void listeners_free(struct listeners *listeners)
{
        struct list *position, *following;

        if (!listeners)
                return;
        list_for_each_safe (position, following, &listeners->entries) {
                struct entry *entry = container_of(position, struct entry, in_order);

                close(entry->listener.fd);
                free(entry->key);
                free(entry);
        }
        table_deinit(&listeners->by_key);
        cleanup_close(&listeners->qgs_fd);
        cleanup_close(&listeners->directory_fd);
        free(listeners->directory);
        free(listeners);
}

int listeners_directory_fd(const struct listeners *listeners)
{
        return listeners->directory_fd;
}

uint32_t listeners_count(const struct listeners *listeners)
{
        return (uint32_t)listeners->by_key.n_nodes;
}

const struct listener *listeners_next(const struct listeners *listeners,
                                      const struct listener *previous)
{
        const struct list *next =
                previous ? container_of(previous, struct entry, listener)->in_order.next
                         : listeners->entries.next;

        return next == &listeners->entries ? NULL
                                           : &container_of(next, struct entry, in_order)->listener;
}

static char *key_of(const struct relay_td *td, const char *name)
{
        char directory[RELAY_TD_NAME_SIZE];

        relay_td_print(td, directory);
        return xasprintf("%s/%s", directory, name);
}

static bool has(const struct listeners *listeners, const struct relay_td *td, const char *name)
{
        _cleanup_(free) char *key = key_of(td, name);

        return table_find(&listeners->by_key, key) != NULL;
}

static void add(struct listeners *listeners, const struct relay_td *td, const char *name, int fd)
{
        struct entry *entry = xcalloc(1, sizeof(*entry));

        entry->key = key_of(td, name);
        entry->listener = (struct listener){
                .id = listeners->next_id++, .td = *td, .name = strchr(entry->key, '/') + 1, .fd = fd
        };
        table_insert(&listeners->by_key, &entry->by_key, entry->key);
        list_add_tail(&listeners->entries, &entry->in_order);
        listeners->on_added(listeners->owner, &entry->listener);
}

/* ---- one socket ---- */

/* Mode and label come before the rename: a VM never meets a socket that it may not open. */
static int bind_in(const char *directory, int dir_fd, const char *name, bool has_labels,
                   int *ret_fd)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = -1;
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" TEMPORARY, directory);
        int r;

        if (n < 0 || (size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* One that a killed relay has left. */
        if (unlinkat(dir_fd, TEMPORARY, 0) < 0 && errno != ENOENT)
                return -errno;
        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        if (!r && has_labels)
                r = label_for_vms(address.sun_path);
        if (!r && (fchmodat(dir_fd, TEMPORARY, 0666, 0) < 0 || listen(fd, BACKLOG) < 0 ||
                   renameat(dir_fd, TEMPORARY, dir_fd, name) < 0))
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dir_fd, TEMPORARY, 0);
                return r;
        }
        *ret_fd = take_fd(&fd);
        return 0;
}

static int bind_one(struct listeners *listeners, const struct relay_td *td, int dir_fd,
                    const char *name, struct error *err)
{
        _cleanup_(free) char *key = key_of(td, name);
        _cleanup_(free) char *path = xasprintf("%s/qgs/%s", listeners->directory, key);
        _cleanup_(free) char *directory = file_directory_of(path);
        int fd = -1, r;

        if (table_find(&listeners->by_key, key))
                return 0;
        r = bind_in(directory, dir_fd, name, listeners->has_labels, &fd);
        if (r < 0)
                return error_errno(err, r, "cannot bind %s%s", path, file_remedy(r, "", ""));
        add(listeners, td, name, fd);
        return 0;
}

void listeners_adopt(struct listeners *listeners, const struct relay_td *td, const char *name,
                     int fd)
{
        if (has(listeners, td, name))
                close(fd);
        else
                add(listeners, td, name, fd);
}

/* ---- many ---- */

/* Keeps the first failure and goes on. */
static void note(int r, const struct error *error, int *ret, struct error *err)
{
        if (r >= 0 || *ret < 0)
                return;
        *ret = r;
        if (err)
                *err = *error;
}

/* The directory that a VM has a mount of. */
static int open_td(const struct listeners *listeners, const char *name, int *ret_fd,
                   struct error *err)
{
        _cleanup_(free) char *path = xasprintf("%s/qgs/%s", listeners->directory, name);
        int r = open_at(listeners->qgs_fd, name, 0755, ret_fd, path, err);

        if (r < 0 || !listeners->has_labels)
                return r;
        r = label_for_vms(path);
        return r < 0 ? error_errno(err, r, "cannot label %s for VMs (SELinux)", path) : 0;
}

typedef int handle_entry(struct listeners *listeners, int dir_fd, const char *name,
                         const struct relay_td *td, struct error *err);

/* Calls on_entry for each name in a directory except hidden ones. */
static int for_each_entry(struct listeners *listeners, int dir_fd, handle_entry *on_entry,
                          const struct relay_td *td, struct error *err)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *entry;
        int ret = 0;

        if (!directory) {
                ret = error_errno(err, -errno, "cannot list a directory of %s",
                                  listeners->directory);
                cleanup_close(&fd);
                return ret;
        }
        while ((entry = readdir(directory))) {
                struct error error = ERROR_NULL;

                if (entry->d_name[0] != '.')
                        note(on_entry(listeners, dir_fd, entry->d_name, td, &error), &error, &ret,
                             err);
        }
        closedir(directory);
        return ret;
}

static int bind_if_socket(struct listeners *listeners, int dir_fd, const char *name,
                          const struct relay_td *td, struct error *err)
{
        struct stat file;

        if (!relay_name_is_valid(name) || fstatat(dir_fd, name, &file, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISSOCK(file.st_mode))
                return 0;
        return bind_one(listeners, td, dir_fd, name, err);
}

static int bind_in_directory(struct listeners *listeners, int dir_fd, const char *name,
                             const struct relay_td *unused, struct error *err)
{
        _cleanup_(close) int fd = -1;
        struct relay_td td;
        int r;

        if (relay_td_parse(name, &td) < 0)
                return 0;
        r = open_td(listeners, name, &fd, err);
        return r ? r : for_each_entry(listeners, fd, bind_if_socket, &td, err);
}

int listeners_bind_found(struct listeners *listeners, struct error *err)
{
        return for_each_entry(listeners, listeners->qgs_fd, bind_in_directory, NULL, err);
}

static int count_names(const struct listeners *listeners)
{
        const struct relay_td first = { .device = 0, .path = RELAY_CLAIM };
        const struct listener *listener = NULL;
        int n = 0;

        while ((listener = listeners_next(listeners, listener)))
                n += memcmp(&listener->td, &first, sizeof(first)) == 0;
        return n;
}

static int check_room(const struct listeners *listeners, const char *name, struct error *err)
{
        const struct relay_td first = { .device = 0, .path = RELAY_CLAIM };

        if (has(listeners, &first, name) || count_names(listeners) < NAMES_MAX)
                return 0;
        return error_set(err, -ENOSPC,
                         "%s/qgs has sockets of %d names, and \"%s\" would be one more: no name is "
                         "taken away before the node restarts",
                         listeners->directory, NAMES_MAX, name);
}

static int bind_named(struct listeners *listeners, const struct relay_td *td, const char *name,
                      struct error *err)
{
        char directory[RELAY_TD_NAME_SIZE];
        _cleanup_(close) int fd = -1;
        int r;

        if (has(listeners, td, name))
                return 0;
        relay_td_print(td, directory);
        r = open_td(listeners, directory, &fd, err);
        return r ? r : bind_one(listeners, td, fd, name, err);
}

int listeners_bind_named(struct listeners *listeners, uint32_t n_devices, const char *name,
                         struct error *err)
{
        int ret = check_room(listeners, name, err);

        for (uint32_t device = 0; ret != -ENOSPC && device < n_devices; ++device)
                for (uint32_t path = 0; path < RELAY_N_PATHS; ++path) {
                        struct relay_td td = { .device = device, .path = path };
                        struct error error = ERROR_NULL;

                        note(bind_named(listeners, &td, name, &error), &error, &ret, err);
                }
        return ret;
}
