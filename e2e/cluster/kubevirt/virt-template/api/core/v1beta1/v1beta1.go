// SPDX-License-Identifier: Apache-2.0

// Package v1beta1 stands in for KubeVirt's virt-template: see README.md.
package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

type VirtualMachineTemplate = metav1.PartialObjectMetadata
