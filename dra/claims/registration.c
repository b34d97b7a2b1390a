/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/registration.h"

#include "base/memory.h"
#include "config.h"
#include "pluginregistration.pb-c.h"

/* kubelet >= 1.34 uses the first of these that it knows, so list the newest first. */
static char *supported_versions[] = { (char *)"v1.DRAPlugin", (char *)"v1beta1.DRAPlugin",
                                      (char *)"v1.DRAResourceHealth",
                                      (char *)"v1alpha1.DRAResourceHealth" };

static void on_get_info(void *owner, struct rpc_call *call, const ProtobufCMessage *request)
{
        const struct registration *registration = owner;
        Registration__PluginInfo info = REGISTRATION__PLUGIN_INFO__INIT;

        info.type = (char *)"DRAPlugin";
        info.name = (char *)DRIVER_NAME;
        info.endpoint = (char *)registration->endpoint;
        info.n_supported_versions = array_size(supported_versions);
        info.supported_versions = supported_versions;
        rpc_call_reply(call, &info.base);
}

/* Always answer with success: kubelet <= 1.35 never retries after an error here (k/k#133725). */
static void on_notify(void *owner, struct rpc_call *call, const ProtobufCMessage *request)
{
        const Registration__RegistrationStatus *status = (const void *)request;
        const struct registration *registration = owner;
        Registration__RegistrationStatusResponse response =
                REGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;

        rpc_call_reply(call, &response.base);
        registration->on_status(registration->owner, status->plugin_registered, status->error);
}

const struct rpc_method registration_methods[] = {
        { "/pluginregistration.Registration/GetInfo", &registration__info_request__descriptor,
          on_get_info },
        { "/pluginregistration.Registration/NotifyRegistrationStatus",
          &registration__registration_status__descriptor, on_notify },
};

const size_t registration_n_methods = array_size(registration_methods);
