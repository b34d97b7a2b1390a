/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/sockets.h"

#include "base/brake.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "host/kubelet.h"
#include "host/socketage.h"
#include "rpc/listener.h"
#include "rpc/server.h"

#include <stdint.h>
#include <string.h>

/* sockets_keep() runs every 30 s at the latest, so a lost registration is repaired within 60 s. A
 * kubelet that would have registered us anyway loses nothing by an earlier offer. */
#define REGISTRATION_PATIENCE_MS 25000
/* kubelet's podresources socket may appear this long after it has registered us. */
#define KUBELET_DELAY_MS 5000

enum role { DRA, REGISTRATION, N_ROLES };

struct sockets {
        uv_loop_t *loop;
        struct rpc_server *server;
        struct rpc_listener *listeners[N_ROLES];
        struct brake brakes[N_ROLES];
        const struct kubelet *kubelet;
        bool is_registered;
        bool is_registrant_known;
        struct socket_identity registrant; /* the kubelet that registered us */
        uint64_t registered_ms;
        uint64_t waiting_since_ms;
};

static void on_connection(void *owner, int fd)
{
        struct sockets *sockets = owner;

        rpc_server_adopt(sockets->server, fd);
}

static int listen_on(struct sockets *sockets, enum role role, struct error *err)
{
        struct rpc_listener *listener = sockets->listeners[role];
        _cleanup_(free) char *directory = file_directory_of(rpc_listener_path(listener));
        _cleanup_(close) int directory_fd = -1;
        int r;

        r = file_open_directory(directory, role == DRA ? 0700 : 0755, &directory_fd, err);
        if (!r)
                r = rpc_listener_listen(listener, err);
        if (!r && role == REGISTRATION) {
                sockets->waiting_since_ms = uv_now(sockets->loop);
                sockets->is_registered = false;
        }
        return r;
}

static void lose_registration(struct sockets *sockets, const char *why)
{
        sockets->is_registered = false;
        sockets->waiting_since_ms = uv_now(sockets->loop);
        log_info("kubelet does not know the DRA driver any more, waiting to be registered again",
                 log_str("reason", why));
}

/* kubelet <= 1.35 tries once after its start, waits a second for GetInfo, and forgets us if the
 * answer is late (k/k#127457, #133725). No event on our side reveals that: the connections of a
 * dead kubelet simply end. So compare the kubelet that runs with the one that registered us. */
static void look_at_kubelet(struct sockets *sockets)
{
        struct socket_identity now = { 0 };
        bool is_there = kubelet_identify(sockets->kubelet, &now);

        if (!sockets->is_registered)
                return;
        if (!sockets->is_registrant_known && !is_there)
                return; /* the podresources socket is not visible in this container */
        if (!sockets->is_registrant_known &&
            uv_now(sockets->loop) - sockets->registered_ms <= KUBELET_DELAY_MS) {
                sockets->registrant = now;
                sockets->is_registrant_known = true;
        }
        if (!is_there)
                lose_registration(sockets, "it is not running");
        else if (!sockets->is_registrant_known ||
                 !socket_identity_equal(&now, &sockets->registrant))
                lose_registration(sockets, "it has restarted");
}

/* Listen on the registration socket last: kubelet dials the other one as soon as it has found it.
 */
int sockets_listen(struct sockets *sockets, struct error *err)
{
        int r = 0;

        for (int role = 0; role < N_ROLES && !r; ++role)
                if (!rpc_listener_is_in_place(sockets->listeners[role]))
                        r = listen_on(sockets, (enum role)role, err);
        return r;
}

void sockets_keep(struct sockets *sockets)
{
        struct error error = ERROR_NULL;
        bool was_in_place[N_ROLES];

        look_at_kubelet(sockets);
        for (int role = 0; role < N_ROLES; ++role)
                was_in_place[role] = rpc_listener_is_in_place(sockets->listeners[role]);
        /* kubelet drops a plugin when its socket file disappears. */
        if (!was_in_place[REGISTRATION])
                sockets->is_registered = false;
        /* Every kubelet tries again on a new socket file. */
        if (!sockets->is_registered && was_in_place[REGISTRATION] &&
            uv_now(sockets->loop) - sockets->waiting_since_ms > REGISTRATION_PATIENCE_MS) {
                log_debug("kubelet has not registered the DRA driver, offering the socket again");
                (void)listen_on(sockets, REGISTRATION, &error);
        }
        if (was_in_place[DRA] && was_in_place[REGISTRATION])
                return;
        if (sockets_listen(sockets, &error) < 0) {
                log_error_braked("a socket is gone and cannot be put back",
                                 log_str("reason", error.text));
                return;
        }
        for (int role = 0; role < N_ROLES; ++role)
                if (!was_in_place[role])
                        brake_log(&sockets->brakes[role], LOG_WARN, "a socket was gone, put back",
                                  log_fields(log_str("socket",
                                                     rpc_listener_path(sockets->listeners[role]))));
}

void sockets_set_registered(struct sockets *sockets, bool is_registered)
{
        sockets->is_registered = is_registered;
        sockets->is_registrant_known =
                is_registered && kubelet_identify(sockets->kubelet, &sockets->registrant);
        sockets->registered_ms = uv_now(sockets->loop);
}

bool sockets_is_registered(const struct sockets *sockets)
{
        return sockets->is_registered;
}

bool sockets_are_in_place(const struct sockets *sockets)
{
        for (int role = 0; role < N_ROLES; ++role)
                if (!rpc_listener_is_in_place(sockets->listeners[role]))
                        return false;
        return true;
}

struct sockets *sockets_new(uv_loop_t *loop, const struct config *config,
                            const struct kubelet *kubelet, struct rpc_server *server)
{
        struct sockets *sockets = xcalloc(1, sizeof(*sockets));

        sockets->loop = loop;
        sockets->kubelet = kubelet;
        sockets->server = server;
        sockets->listeners[DRA] =
                rpc_listener_new(loop, config->dra_socket, on_connection, sockets);
        sockets->listeners[REGISTRATION] =
                rpc_listener_new(loop, config->registration_socket, on_connection, sockets);
        return sockets;
}

void sockets_free(struct sockets *sockets)
{
        if (!sockets)
                return;
        /* The registration socket goes first, so that kubelet finds no service that has already
         * gone. */
        for (int role = N_ROLES - 1; role >= 0; --role)
                rpc_listener_free(sockets->listeners[role]);
        free(sockets);
}
