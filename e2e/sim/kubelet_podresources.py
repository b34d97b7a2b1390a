# SPDX-License-Identifier: Apache-2.0
"""kubelet's podresources API: who holds what. Each claim belongs to one pod of its name."""

import os

import grpc

import kubelet_api as api

messages = api.podresources


class PodResources:
    def __init__(self, path, dra):
        self.path = path
        self.dra = dra
        self._server = None

    async def start(self):
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        methods = {
            api.LIST_POD_RESOURCES: (self._list, messages.ListPodResourcesRequest),
            api.GET_POD_RESOURCES: (self._get, messages.GetPodResourcesRequest),
            api.GET_ALLOCATABLE_RESOURCES: (self._get_allocatable,
                                            messages.AllocatableResourcesRequest),
        }
        handlers = {
            path.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(
                method, request.FromString, lambda response: response.SerializeToString())
            for path, (method, request) in methods.items()}
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([
            grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers)])
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def stop(self):
        """Also removes the socket."""
        if self._server:
            await self._server.stop(None)
            self._server = None

    @staticmethod
    def _pod(claim):
        # While Prepare runs, the claim is listed without its resources.
        resources = [
            messages.ClaimResource(
                driver_name=claim.driver, pool_name=device.pool_name,
                device_name=device.device_name,
                cdi_devices=[messages.CDIDevice(name=name) for name in device.cdi_device_ids])
            for device in claim.devices or []]
        dynamic = messages.DynamicResource(claim_name=claim.name, claim_namespace=claim.namespace,
                                           claim_resources=resources)
        return messages.PodResources(name=claim.name, namespace=claim.namespace, containers=[
            messages.ContainerResources(name="compute", dynamic_resources=[dynamic])])

    async def _list(self, request, context):
        return messages.ListPodResourcesResponse(
            pod_resources=[self._pod(claim) for claim in self.dra.claims.values()])

    async def _get(self, request, context):
        claim = self.dra.claims.get((request.pod_namespace, request.pod_name))
        if claim is None:
            await context.abort(grpc.StatusCode.NOT_FOUND,
                                f"pod {request.pod_name} in namespace {request.pod_namespace} "
                                "not found")
        return messages.GetPodResourcesResponse(pod_resources=self._pod(claim))

    async def _get_allocatable(self, request, context):
        return messages.AllocatableResourcesResponse()
