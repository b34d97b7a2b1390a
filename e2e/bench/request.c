/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/bench/request.h"

#include <stdio.h>

#define METHOD(name) "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/" name

void request_init(struct request *request, enum request_kind kind, unsigned serial)
{
        dra__node_prepare_resources_request__init(&request->prepare);
        dra__node_unprepare_resources_request__init(&request->unprepare);
        dra__claim__init(&request->claim);
        snprintf(request->uid, sizeof(request->uid), UID_FORMAT, serial);
        request->claim.namespace_ = (char *)"default";
        request->claim.name = request->claim.uid = request->uid;
        request->claims[0] = &request->claim;
        request->prepare.claims = request->unprepare.claims = request->claims;
        request->prepare.n_claims = request->unprepare.n_claims = kind != REQUEST_EMPTY;
        if (kind == REQUEST_UNPREPARE) {
                request->method = METHOD("NodeUnprepareResources");
                request->message = &request->unprepare.base;
                request->reply_kind = &dra__node_unprepare_resources_response__descriptor;
        } else {
                request->method = METHOD("NodePrepareResources");
                request->message = &request->prepare.base;
                request->reply_kind = &dra__node_prepare_resources_response__descriptor;
        }
}

const char *request_complaint(enum request_kind kind, const ProtobufCMessage *reply)
{
        const Dra__NodePrepareResourcesResponse *prepared = (const void *)reply;
        const Dra__NodeUnprepareResourcesResponse *unprepared = (const void *)reply;
        const char *complaint = "no claim in the answer";

        if (!reply)
                return "no answer";
        if (kind == REQUEST_EMPTY)
                complaint = "";
        else if (kind == REQUEST_PREPARE && prepared->n_claims == 1)
                complaint = prepared->claims[0]->value->error;
        else if (kind == REQUEST_UNPREPARE && unprepared->n_claims == 1)
                complaint = unprepared->claims[0]->value->error;
        return *complaint ? complaint : NULL;
}
