/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/http_failure.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

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
                error_set(err, -EPROTO,
                          "the certificate of %s is not trusted: %s; --ca-file must name the CA "
                          "that signed it",
                          url, text);
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
        default:
                error_set(err, -EIO, "%s", text);
        }
}
