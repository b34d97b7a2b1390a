// SPDX-License-Identifier: Apache-2.0

// Package core stands in for KubeVirt's virt-template: see README.md.
package core

const (
	GroupName            = "template.kubevirt.io"
	SingularResourceName = "virtualmachinetemplate"
	PluralResourceName   = "virtualmachinetemplates"
)
