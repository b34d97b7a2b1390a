/* SPDX-License-Identifier: Apache-2.0 */
/* Describes why a transfer failed, for the person who must fix it. */
#pragma once

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Everything is borrowed. */
struct http_failure {
        CURL *easy;
        CURLcode result;       /* not CURLE_OK */
        const char *curl_text; /* CURLOPT_ERRORBUFFER; used if it says more than the code */
        const char *url;
        uint32_t timeout_ms;
        size_t n_received; /* bytes of the reply */
};

void http_failure_describe(const struct http_failure *failure, struct error *err);
