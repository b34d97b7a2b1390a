/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server's address and our credentials.
 *
 * They come from explicit options (if api_server is given) or from the in-cluster convention: the
 * environment variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, and the files token
 * and ca.crt of the pod's service account (kubernetes.io/docs: "Accessing the Kubernetes API from a
 * Pod"). An explicit file option replaces the conventional file.
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>

struct error;
struct kube_token;

#define KUBE_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* NULL: not given. Error texts call them --api-server, --ca-file, --token-file, --client-cert and
 * --client-key. */
struct kube_credentials_options {
        const char *api_server; /* "https://host:port[/prefix]" */
        const char *ca_file;
        const char *token_file;
        const char *client_cert;         /* PEM */
        const char *client_key;          /* PEM */
        const char *service_account_dir; /* NULL: KUBE_SERVICE_ACCOUNT_DIR */
};

/* All owned; NULL: absent. */
struct kube_credentials {
        char *url; /* no slash at the end; passes kube_url_check() */
        char *ca_file;
        char *token_file;
        char *client_cert;
        char *client_key;
};

#define KUBE_CREDENTIALS_NULL \
        {                     \
                0             \
        }

enum {
        KUBE_CREDENTIALS_NONE = 1 /* no api_server was given, and we do not run in a pod */
};

/* 0, KUBE_CREDENTIALS_NONE, or -errno: -EINVAL if options contradict each other or the URL is
 * refused; open(2)'s error if a file cannot be read. The text names file and flag. */
int kube_credentials_resolve(const struct kube_credentials_options *options,
                             struct kube_credentials *ret, struct error *err);
void kube_credentials_deinit(struct kube_credentials *credentials);

static inline void cleanup_kube_credentials(struct kube_credentials *credentials)
{
        kube_credentials_deinit(credentials);
}

/* 0, or -EINVAL with reason and remedy: https to anywhere; http only to this machine (127.0.0.0/8,
 * [::1], localhost), because others on the network could read the bearer token and forge the
 * answers. No user name, query or fragment. */
int kube_url_check(const char *url, struct error *err);

/*
 * A service account token. kubelet replaces the file about once an hour (projected volume: it swaps
 * a symbolic link).
 */
#define KUBE_TOKEN_MAX 65536U /* bytes */

struct kube_token *kube_token_new(const char *path);
void kube_token_free(struct kube_token *token);
DEFINE_CLEANUP(struct kube_token, kube_token, kube_token_free);

/* *ret_token is borrowed until the next call. The file is read again if its identity, time or size
 * changed, and always if is_forced (after a 401). While it cannot be read, an unforced call returns
 * the last known token. -EBADMSG: it is empty, or has white space or control bytes inside. */
int kube_token_get(struct kube_token *token, bool is_forced, const char **ret_token,
                   struct error *err);
