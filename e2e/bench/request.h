/* SPDX-License-Identifier: Apache-2.0 */
/* kubelet's requests to the driver in a bench, and the check of the answers. */
#pragma once

#include "dra.pb-c.h"

#define UID_FORMAT                                                                    \
        "00000000-0000-4000-8000-%012u" /* of the claim of that number; its name, too \
                                         */
#define SERIAL_DIGITS 12                /* digits at its end */

enum request_kind {
        REQUEST_PREPARE,
        REQUEST_UNPREPARE,
        REQUEST_EMPTY /* a Prepare without claims: the cost of any call */
};

/* Do not move it once made: it points into itself. */
struct request {
        const char *method;
        const ProtobufCMessage *message;
        const ProtobufCMessageDescriptor *reply_kind;
        Dra__NodePrepareResourcesRequest prepare;
        Dra__NodeUnprepareResourcesRequest unprepare;
        Dra__Claim claim, *claims[1];
        char uid[sizeof(UID_FORMAT) + SERIAL_DIGITS];
};

void request_init(struct request *request, enum request_kind kind, unsigned serial);

/* NULL: the answer fits the request. Otherwise the fault, as text for a person. */
const char *request_complaint(enum request_kind kind, const ProtobufCMessage *reply);
