/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said over the quote relay's control socket, relay.sock: one JSON object a line. Pure.
 *
 * Two kinds of clients connect, both root: the driver, and a starting relay that takes over from
 * the one that runs (its successor).
 *
 *     driver -> relay     configure, ask
 *     relay -> driver     configured or refused; quote, snapshot, qgs (unasked)
 *     successor -> relay  succeed, serving
 *     relay -> successor  quote and snapshot as to a driver; handover, then a listener a socket
 * with its descriptor; then quote and remaining
 *
 * What a driver hears of quotes: first those that no driver has heard of (at most
 * RELAY_QUOTES_KEPT), then a snapshot of the node and of each TD that has asked for a quote, which
 * counts them too, then each quote when it has ended. A driver that reads too slowly misses some
 * and gets the snapshot again.
 *
 * Both ends may be of different versions: a line of an unknown kind and an unknown field are
 * ignored.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <stddef.h>
#include <stdint.h>

struct error;

#define RELAY_SOCKET      "relay.sock" /* in the relay's directory */
#define RELAY_DIRECTORY   "/run/dra-driver-tdx"
#define RELAY_LINE_MAX    65536U /* bytes, its "\n" included */
#define RELAY_DEVICES_MAX 4096U  /* tdx0 to tdx4095 */
#define RELAY_QUOTES_KEPT 4096U
#define RELAY_NAME_MAX    107 /* sun_path (unix(7)) */
#define RELAY_DIGEST_SIZE 32  /* SHA-256 */

enum relay_path { RELAY_CLAIM, RELAY_PLUGIN, RELAY_N_PATHS };

const char *relay_path_name(enum relay_path path); /* "claim", "plugin"; static */

/* A TD of one path, "claim-tdx5". The same number on the other path is another VM's. */
struct relay_td {
        uint32_t device; /* < RELAY_DEVICES_MAX */
        uint32_t path;   /* enum relay_path */
};

/* "claim-tdx5": the name of the TD's directory. */
#define RELAY_TD_NAME_SIZE sizeof("plugin-tdx4095")
void relay_td_print(const struct relay_td *td, char ret[RELAY_TD_NAME_SIZE]);
/* 0, or -EINVAL: not such a name. */
int relay_td_parse(const char *name, struct relay_td *ret);

enum relay_outcome {
        RELAY_DELIVERED, /* a quote, written to the VM */
        RELAY_QGS_ERROR, /* QGS's error reply, passed on; code. Any VM can provoke one by a report
                          * that is none, so it tells nothing of QGS */
        RELAY_GAVE_UP,   /* cause: of the last attempt; -EBUSY: its turn never came; -ETIMEDOUT: QGS
                          * was silent; -ECONNRESET: it closed without a reply; -EBADMSG: its
                          * reply is malformed; -ENOTCONN: the holder is gone; or connect(2)'s */
        RELAY_MALFORMED, /* not a whole request of QGS's format in time */
        RELAY_REFUSED_TYPE, /* not a request for a quote */
        RELAY_LEFT,         /* the VM closed before its reply */
        RELAY_N_OUTCOMES
};

const char *relay_outcome_name(enum relay_outcome outcome); /* "delivered", "qgs-error", ... */

struct relay_configuration {
        uint32_t n_devices;                  /* sockets for tdx0 to tdx<n-1>, both paths */
        char qgs_socket[RELAY_NAME_MAX + 1]; /* as the host names it; absolute */
        char vm_name[RELAY_NAME_MAX + 1];    /* the file name of the VMs' socket */
};

/* One request of a VM that has ended. */
struct relay_quote {
        int64_t time_ms; /* since 1970 */
        struct relay_td td;
        enum relay_outcome outcome;
        uint32_t error; /* RELAY_QGS_ERROR: QGS's code */
        int32_t cause;  /* RELAY_GAVE_UP: a negative errno */
        uint64_t us;    /* from the whole request to the last byte of the reply */
        bool has_digest;
        uint8_t digest[RELAY_DIGEST_SIZE]; /* SHA-256 of the report data; never the report itself */
};

struct relay_counts {
        int64_t delivered_ms; /* the last delivered quote, since 1970; 0: none yet */
        uint64_t n[RELAY_N_OUTCOMES];
};

/* Since the relay started; its successor counts on. */
struct relay_snapshot {
        bool is_of_node; /* all TDs together; td is not set */
        struct relay_td td;
        struct relay_counts counts;
        uint64_t n_lost; /* of the node: quotes whose lines no driver got */
};

/* How QGS did when it was last asked, by a VM or by the relay itself. */
struct relay_qgs {
        bool is_absent; /* no socket there; result is QGS_PROBE_OURS */
        enum qgs_probe_result result;
        char failure[128]; /* why not, "" if it answered */
};

enum relay_message_kind {
        RELAY_CONFIGURE,  /* configuration */
        RELAY_ASK,        /* ask QGS for PLATFORM_INFO soon; a qgs line follows in any case */
        RELAY_CONFIGURED, /* configuration: every socket is bound */
        RELAY_REFUSED,    /* text: why the configuration is not in force */
        RELAY_QUOTE,      /* quote */
        RELAY_SNAPSHOT,   /* snapshot */
        RELAY_QGS,        /* qgs; at most once a second while it does not change */
        RELAY_SUCCEED,    /* hand over to me */
        RELAY_HANDOVER,  /* count: listener lines that follow; configuration if has_configuration */
        RELAY_LISTENER,  /* listener, with the listening socket (SCM_RIGHTS) */
        RELAY_SERVING,   /* the successor serves VMs and drivers */
        RELAY_REMAINING, /* count: connections to QGS that the predecessor still needs for its own
                          */
        RELAY_N_KINDS
};

struct relay_listener {
        struct relay_td td;
        char name[RELAY_NAME_MAX + 1]; /* in the TD's directory */
};

struct relay_message {
        enum relay_message_kind kind;
        bool has_configuration;
        struct relay_configuration configuration;
        char text[512];
        struct relay_quote quote;
        struct relay_snapshot snapshot;
        struct relay_qgs qgs;
        struct relay_listener listener;
        uint32_t count;
};

/* The file name of a socket: not "", "." or "..", without "/" or control characters, not hidden. */
bool relay_name_is_valid(const char *name);
bool relay_configuration_is_equal(const struct relay_configuration *a,
                                  const struct relay_configuration *b);

/* One line with its "\n"; the caller's. */
char *relay_message_print(const struct relay_message *message);

enum relay_message_outcome {
        RELAY_MESSAGE_UNKNOWN = 1 /* a kind of another version */
};

/* A line of n bytes, without its "\n". 0; RELAY_MESSAGE_UNKNOWN; -EBADMSG with the reason: not an
 * object, or a value is missing or impossible. *ret is untouched unless 0. */
int relay_message_parse(const char *line, size_t n, struct relay_message *ret, struct error *err);
