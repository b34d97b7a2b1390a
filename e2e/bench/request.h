/* SPDX-License-Identifier: Apache-2.0 */
/* What kubelet asks the driver in a bench, and whether the answer is one. */
#pragma once

#include "dra.pb-c.h"

#define UID_FORMAT                                                                    \
        "00000000-0000-4000-8000-%012u" /* of the claim of that number; its name, too \
                                         */
#define SERIAL_DIGITS 12                /* at the end of it */

enum request_kind {
        REQUEST_PREPARE,
        REQUEST_UNPREPARE,
        REQUEST_EMPTY /* a Prepare of no claim: what any call costs */
};

/* Not to be moved once made. */
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

/* NULL: the answer is what was asked for. Otherwise what is wrong with it, for a person. */
const char *request_complaint(enum request_kind kind, const ProtobufCMessage *reply);
