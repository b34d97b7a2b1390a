/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/http_failure.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* openssl/x509_vfy.h, as curl passes them on. */
#define CERTIFICATE_UNSPECIFIED   1 /* the name, which curl checks before it asks for the rest */
#define CERTIFICATE_NOT_YET_VALID 9
#define CERTIFICATE_HAS_EXPIRED   10

static void describe_certificate(const struct http_failure *failure, const char *text,
                                 struct error *err)
{
        const char *remedy = "--ca-file must name the CA that signed it";
        long result = 0;

        curl_easy_getinfo(failure->easy, CURLINFO_SSL_VERIFYRESULT, &result);
        if (result == CERTIFICATE_HAS_EXPIRED || result == CERTIFICATE_NOT_YET_VALID)
                remedy = "renew it, or set this node's clock right";
        else if (result == CERTIFICATE_UNSPECIFIED)
                remedy = "--api-server must name the API server as its certificate does";
        error_set(err, -EPROTO, "the certificate of %s is not accepted: %s; %s", failure->url, text,
                  remedy);
}

void http_failure_describe(const struct http_failure *failure, struct error *err)
{
        const char *url = failure->url;
        const char *text =
                failure->curl_text[0] ? failure->curl_text : curl_easy_strerror(failure->result);
        long os_errno = 0;
        curl_off_t connected_us = 0;

        curl_easy_getinfo(failure->easy, CURLINFO_OS_ERRNO, &os_errno);
        curl_easy_getinfo(failure->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
        switch ((int)failure->result) {
        case CURLE_COULDNT_CONNECT:
                error_set(err, os_errno ? (int)-os_errno : -ECONNREFUSED,
                          "cannot connect to %s: %s; is the API server up, and its address right?",
                          url, os_errno ? strerror((int)os_errno) : text);
                break;
        case CURLE_COULDNT_RESOLVE_HOST:
                error_set(err, -EHOSTUNREACH, "the host name in %s cannot be resolved: %s", url,
                          text);
                break;
        case CURLE_OPERATION_TIMEDOUT:
                if (connected_us)
                        error_set(err, -ETIMEDOUT, "%s gave no complete answer within %u s", url,
                                  failure->timeout_ms / 1000);
                else
                        error_set(err, -ETIMEDOUT,
                                  "no connection to %s in time; does a firewall or network policy "
                                  "drop it?",
                                  url);
                break;
        case CURLE_PEER_FAILED_VERIFICATION:
                describe_certificate(failure, text, err);
                break;
        case CURLE_SSL_CACERT_BADFILE:
                error_set(err, -EPROTO, "the CA file (--ca-file) cannot be used: %s", text);
                break;
        case CURLE_SSL_CERTPROBLEM:
                error_set(err, -EPROTO,
                          "the client certificate (--client-cert, --client-key) cannot be used: %s",
                          text);
                break;
        case CURLE_PARTIAL_FILE:
        case CURLE_GOT_NOTHING:
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
                error_set(err, -ECONNRESET, "the connection broke after %zu bytes of the reply: %s",
                          failure->n_received, text);
                break;
        case CURLE_OUT_OF_MEMORY:
                /* Our allocator never fails; curl says so of a header beyond its limit. */
                error_set(err, -EMSGSIZE, "the headers of the reply from %s are too large", url);
                break;
        default:
                error_set(err, -EIO, "%s", text);
        }
}
