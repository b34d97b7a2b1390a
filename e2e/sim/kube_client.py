# SPDX-License-Identifier: Apache-2.0
"""The little that kubelet asks of an API server for DRA."""

import asyncio
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT = 10
RESOURCE_API = "/apis/resource.k8s.io/v1"


class KubeError(Exception):
    pass


class KubeClient:
    def __init__(self, url, token=""):
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A stand-in has no certificate that could be checked.
        self.tls = ssl._create_unverified_context() if url.startswith("https:") else None

    def _perform(self, method, path):
        request = urllib.request.Request(self.url + path, method=method, headers=self.headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self.tls) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            try:
                raise KubeError(json.load(error)["message"]) from error
            except (ValueError, KeyError):
                raise KubeError(f"{error.code} {error.reason}") from error
        except (OSError, ValueError) as error:
            raise KubeError(f"{method} {path}: {error}") from error

    async def claim_uid(self, namespace, name):
        claim = await asyncio.to_thread(
            self._perform, "GET", f"{RESOURCE_API}/namespaces/{namespace}/resourceclaims/{name}")
        return claim["metadata"]["uid"]

    async def wipe_slices(self, node, driver=None):
        selector = f"spec.nodeName={node}" + (f",spec.driver={driver}" if driver else "")
        query = urllib.parse.urlencode({"fieldSelector": selector})
        await asyncio.to_thread(self._perform, "DELETE", f"{RESOURCE_API}/resourceslices?{query}")
