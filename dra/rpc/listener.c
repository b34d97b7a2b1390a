/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/listener.h"

#include "base/brake.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/socket.h"
#include "base/timer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG             128
#define ACCEPTS_PER_WAKE    16 /* then the loop serves its other sources */
#define OUT_OF_FDS_PAUSE_MS 100

struct rpc_listener {
        uv_loop_t *loop;
        char *path;
        rpc_on_connection *on_connection;
        void *owner;

        int fd;
        dev_t device; /* device and inode of the socket file, to tell ours from a successor's */
        ino_t inode;
        struct poll *poll; /* NULL: not listening */
        struct timer *pause;
};

static int parse_path(const char *path, struct sockaddr_un *ret_address)
{
        if (strlen(path) >= sizeof(ret_address->sun_path))
                return -ENAMETOOLONG;
        *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret_address->sun_path, path, strlen(path) + 1);
        return 0;
}

/* "dir/.name": kubelet ignores dot-names. */
static char *hidden_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        size_t n_directory = slash ? (size_t)(slash - path) + 1 : 0;

        return xasprintf("%.*s.%s", (int)n_directory, path, path + n_directory);
}

int rpc_listener_check_path(const char *path, struct error *err)
{
        /* The dot of the hidden name takes one byte, so path must leave it. */
        size_t n = strlen(path) + 1;

        if (path[0] != '/')
                return error_set(err, -EINVAL, "socket path %s is not absolute", path);
        if (n > RPC_LISTENER_PATH_MAX)
                return error_set(err, -EINVAL,
                                 "socket path %s has %zu bytes, a unix socket takes at most %d "
                                 "here: shorten --kubelet-dir",
                                 path, n - 1, RPC_LISTENER_PATH_MAX - 1);
        return 0;
}

static bool is_peer_trusted(int fd)
{
        struct ucred peer;
        socklen_t n = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
                return false;
        if (peer.uid == 0 || peer.uid == geteuid())
                return true;
        log_warn_braked("refused a connection: only root may call", log_int("uid", peer.uid),
                        log_int("pid", peer.pid));
        return false;
}

static void on_pause_over(void *owner)
{
        struct rpc_listener *listener = owner;

        if (listener->poll)
                poll_start(listener->poll, UV_READABLE);
}

/* A listener that cannot accept stays readable, so without a pause the loop would spin until a
 * descriptor is free. */
static void pause_accepting(struct rpc_listener *listener, int code)
{
        log_warn_braked("cannot accept a connection, trying again shortly",
                        log_str("socket", listener->path), log_str("reason", strerror(code)));
        poll_stop(listener->poll);
        timer_start(listener->pause, OUT_OF_FDS_PAUSE_MS);
}

static void on_readable(void *owner, int status, int events)
{
        struct rpc_listener *listener = owner;

        for (int i = 0; i < ACCEPTS_PER_WAKE; ++i) {
                int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                            errno == ENOMEM)
                                pause_accepting(listener, errno);
                        return;
                }
                if (is_peer_trusted(fd))
                        listener->on_connection(listener->owner, fd);
                else
                        close(fd);
        }
}

struct rpc_listener *rpc_listener_new(uv_loop_t *loop, const char *path,
                                      rpc_on_connection *on_connection, void *owner)
{
        struct rpc_listener *listener = xcalloc(1, sizeof(*listener));

        listener->loop = loop;
        listener->path = xstrdup(path);
        listener->on_connection = on_connection;
        listener->owner = owner;
        listener->fd = -1;
        listener->pause = timer_new(loop, on_pause_over, listener);
        return listener;
}

/* Bind and listen under the hidden name; the file's identity goes to ret_stat. */
static int bind_hidden(const char *hidden, int *ret_fd, struct stat *ret_stat)
{
        _cleanup_(close) int fd = -1;
        struct sockaddr_un address;
        int r;

        r = parse_path(hidden, &address);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (unlink(hidden) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        if (chmod(hidden, 0600) < 0 || listen(fd, BACKLOG) < 0 || lstat(hidden, ret_stat) < 0)
                return -errno;
        *ret_fd = take_fd(&fd);
        return 0;
}

static int poll_socket(struct rpc_listener *listener, int fd)
{
        struct poll *poll = poll_new(listener->loop, fd, on_readable, listener);

        if (!poll)
                return -EPERM;
        listener->poll = poll;
        listener->fd = fd;
        return poll_start(poll, UV_READABLE);
}

static void stop_accepting(struct rpc_listener *listener)
{
        timer_stop(listener->pause);
        poll_free(take_ptr(listener->poll));
        if (listener->fd >= 0)
                close(take_fd(&listener->fd));
}

int rpc_listener_listen(struct rpc_listener *listener, struct error *err)
{
        _cleanup_(free) char *hidden = hidden_name(listener->path);
        _cleanup_(close) int fd = -1;
        struct stat new_file = { 0 }, old_file;
        int r;

        if (!lstat(listener->path, &old_file) && !S_ISSOCK(old_file.st_mode))
                return error_set(err, -EEXIST, "%s exists and is not a socket: remove it",
                                 listener->path);
        r = bind_hidden(hidden, &fd, &new_file);
        if (!r && rename(hidden, listener->path) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(hidden);
                return error_errno(err, r, "cannot listen on %s", listener->path);
        }
        stop_accepting(listener);
        listener->device = new_file.st_dev;
        listener->inode = new_file.st_ino;
        r = poll_socket(listener, fd);
        if (r < 0)
                return error_errno(err, r, "cannot poll %s", listener->path);
        (void)take_fd(&fd);
        return 0;
}

bool rpc_listener_is_in_place(const struct rpc_listener *listener)
{
        struct stat file;

        return listener->fd >= 0 && lstat(listener->path, &file) == 0 &&
               file.st_dev == listener->device && file.st_ino == listener->inode;
}

const char *rpc_listener_path(const struct rpc_listener *listener)
{
        return listener->path;
}

void rpc_listener_withdraw(struct rpc_listener *listener)
{
        /* Unlink before close: after close the inode number may be reused for a successor's socket.
         */
        if (rpc_listener_is_in_place(listener))
                (void)unlink(listener->path);
        stop_accepting(listener);
}

void rpc_listener_free(struct rpc_listener *listener)
{
        if (!listener)
                return;
        rpc_listener_withdraw(listener);
        timer_free(listener->pause);
        free(listener->path);
        free(listener);
}

bool rpc_listener_sweep_dead(const char *path)
{
        return socket_try(path) == -ECONNREFUSED && unlink(path) == 0;
}
