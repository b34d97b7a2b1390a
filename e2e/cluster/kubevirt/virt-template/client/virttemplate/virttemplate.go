// SPDX-License-Identifier: Apache-2.0

// Package virttemplate stands in for KubeVirt's virt-template: see README.md.
package virttemplate

import (
	"errors"

	"k8s.io/client-go/rest"
)

type Clientset struct{}

func NewForConfig(*rest.Config) (*Clientset, error) { return nil, errors.New("no virt-template here") }
func (*Clientset) TemplateV1beta1() *Clientset      { return nil }
func (*Clientset) RESTClient() rest.Interface       { return nil }
