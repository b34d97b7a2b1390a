/* SPDX-License-Identifier: Apache-2.0 */
#include "relaying.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "config.h"
#include "host/relay_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct relaying {
        struct relaying_options options;
        char *directory;             /* of the TDs' directories */
        struct relay_client *client; /* NULL: --qgs=direct, or only_asks */
        struct relay_configuration wanted;
        enum relaying_mode mode;
        char *trouble;
        bool is_direct_told;
};

/* A relay of this boot has made the sockets, whether or not one runs now. */
static bool has_sockets(const struct relaying *relaying)
{
        _cleanup_(free) char *path = NULL;
        struct stat file;

        if (!relaying->wanted.vm_name[0])
                return false;
        path = xasprintf("%s/claim-tdx0/%s", relaying->directory, relaying->wanted.vm_name);
        return stat(path, &file) == 0 && S_ISSOCK(file.st_mode);
}

static enum relaying_mode decide(const struct relaying *relaying)
{
        if (!relaying->options.config->is_relaying)
                return RELAYING_DIRECT;
        if (relaying->mode == RELAYING_RELAY || has_sockets(relaying))
                return RELAYING_RELAY;
        if (!relaying->client)
                return RELAYING_DIRECT;
        switch (relay_client_state(relaying->client)) {
        case RELAY_CLIENT_CONFIGURED:
                return RELAYING_RELAY;
        case RELAY_CLIENT_AWAY:
        case RELAY_CLIENT_REFUSING:
                return RELAYING_DIRECT;
        case RELAY_CLIENT_UNKNOWN:
                break;
        }
        return relaying->mode;
}

/* NULL: none. The caller's. */
static char *find_trouble(const struct relaying *relaying)
{
        const char *reason;

        if (!relaying->client)
                return NULL;
        reason = relay_client_reason(relaying->client);
        switch (relay_client_state(relaying->client)) {
        case RELAY_CLIENT_AWAY:
                return xasprintf("the quote relay does not answer at %s/" RELAY_SOCKET " (%s): see "
                                 "the log of the container relay in the driver's pod",
                                 relaying->options.config->relay_dir, reason);
        case RELAY_CLIENT_REFUSING:
                return xasprintf("the quote relay cannot serve VMs: %s", reason);
        case RELAY_CLIENT_CONFIGURED:
        case RELAY_CLIENT_UNKNOWN:
                break;
        }
        return NULL;
}

static void tell(struct relaying *relaying, bool is_warning, const char *reason, const char *text)
{
        if (is_warning)
                log_warn(text, log_str("directory", relaying->options.config->relay_dir));
        else
                log_info(text, log_str("directory", relaying->options.config->relay_dir));
        relaying->options.on_event(relaying->options.owner, is_warning, reason, text);
}

static void tell_mode(struct relaying *relaying, const char *trouble)
{
        _cleanup_(free) char *text = NULL;

        if (relaying->mode == RELAYING_DIRECT && trouble) {
                text = xasprintf(
                        "VMs are given QGS's own socket, and a running VM loses attestation "
                        "for good when QGS's directory is recreated: %s; or set "
                        "--qgs=direct",
                        trouble);
                relaying->is_direct_told = true;
                tell(relaying, true, "TDXNoQuoteRelay", text);
        } else if (relaying->mode == RELAYING_RELAY && relaying->is_direct_told) {
                tell(relaying, false, "TDXQuoteRelay",
                     "new VMs reach QGS through the quote relay again; those that run keep what "
                     "they have");
        } else if (relaying->mode == RELAYING_RELAY) {
                log_info("VMs reach QGS through the quote relay",
                         log_str("directory", relaying->directory));
        }
}

static void look(struct relaying *relaying)
{
        enum relaying_mode before = relaying->mode;
        _cleanup_(free) char *trouble = find_trouble(relaying);
        bool is_same_trouble;

        relaying->mode = decide(relaying);
        if (relaying->mode != before)
                tell_mode(relaying, trouble);
        if (relaying->mode != RELAYING_RELAY)
                free(take_ptr(trouble));
        is_same_trouble = trouble && relaying->trouble ? strcmp(trouble, relaying->trouble) == 0
                                                       : !trouble == !relaying->trouble;
        free(relaying->trouble);
        relaying->trouble = take_ptr(trouble);
        if (relaying->mode != before || !is_same_trouble)
                relaying->options.on_changed(relaying->options.owner);
}

static void on_state(void *owner)
{
        look(owner);
}

static void on_message(void *owner, const struct relay_message *message)
{
        struct relaying *relaying = owner;

        relaying->options.on_message(relaying->options.owner, message);
}

struct relaying *relaying_new(const struct relaying_options *options)
{
        struct relaying *relaying = xcalloc(1, sizeof(*relaying));

        relaying->options = *options;
        relaying->directory = xasprintf("%s/qgs", options->config->relay_dir);
        if (!options->config->is_relaying)
                relaying->mode = RELAYING_DIRECT;
        else if (!options->only_asks)
                relaying->client = relay_client_new(
                        &(struct relay_client_options){ .loop = options->loop,
                                                        .directory = options->config->relay_dir,
                                                        .on_state = on_state,
                                                        .on_message = on_message,
                                                        .owner = relaying });
        return relaying;
}

void relaying_free(struct relaying *relaying)
{
        if (!relaying)
                return;
        relay_client_free(relaying->client);
        free(relaying->directory);
        free(relaying->trouble);
        free(relaying);
}

static void configure(struct relaying *relaying)
{
        if (relaying->client && relaying->wanted.n_devices && relaying->wanted.qgs_socket[0])
                relay_client_configure(relaying->client, &relaying->wanted);
        look(relaying);
}

void relaying_set_devices(struct relaying *relaying, unsigned n)
{
        n = n < RELAY_DEVICES_MAX ? n : RELAY_DEVICES_MAX;
        if (n <= relaying->wanted.n_devices)
                return;
        relaying->wanted.n_devices = n;
        configure(relaying);
}

void relaying_set_sockets(struct relaying *relaying, const char *host_socket, const char *vm_socket)
{
        const char *name = strrchr(vm_socket, '/') + 1;

        if (strcmp(relaying->wanted.qgs_socket, host_socket) == 0 &&
            strcmp(relaying->wanted.vm_name, name) == 0)
                return;
        (void)snprintf(relaying->wanted.qgs_socket, sizeof(relaying->wanted.qgs_socket), "%s",
                       host_socket);
        (void)snprintf(relaying->wanted.vm_name, sizeof(relaying->wanted.vm_name), "%s", name);
        configure(relaying);
}

enum relaying_mode relaying_mode(const struct relaying *relaying)
{
        return relaying->mode;
}

const char *relaying_trouble(const struct relaying *relaying)
{
        return relaying->trouble;
}

bool relaying_is_connected(const struct relaying *relaying)
{
        return relaying->client && relay_client_is_connected(relaying->client);
}

const char *relaying_directory(const struct relaying *relaying)
{
        return relaying->directory;
}
