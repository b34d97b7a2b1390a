// SPDX-License-Identifier: Apache-2.0

// Command in-tree-plugin is KubeVirt's own TDX device plugin, as virt-handler runs it (device_controller.go: updateTdxDevice, controlledDevice),
// for the scenarios in which it serves devices.kubevirt.io/tdx beside the driver.
//
// Usage: in-tree-plugin N SOCKET [enforced]   N devices; Unhealthy while SOCKET is absent, where it is enforced
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path"
	"strconv"
	"syscall"
	"time"

	"kubevirt.io/client-go/log"
	manager "kubevirt.io/kubevirt/pkg/virt-handler/device-manager"
	"kubevirt.io/kubevirt/pkg/virt-handler/selinux"
)

func newPlugin(n int, socket string, enforced bool) (*manager.SocketDevicePlugin, error) {
	directory, file := path.Dir(socket), path.Base(socket)
	if !enforced {
		return manager.NewOptionalSocketDevicePlugin("tdx", directory, file, n, selinux.SELinuxExecutor{}, nil, true), nil
	}
	return manager.NewSocketDevicePlugin("tdx", directory, file, n, selinux.SELinuxExecutor{}, nil, true)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: in-tree-plugin N SOCKET [enforced]")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "N is a number:", err)
		os.Exit(2)
	}
	log.InitializeLogging("in-tree-plugin")
	stop := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		<-signals
		close(stop)
	}()
	for backoff := []time.Duration{1, 2, 5, 10}; ; backoff = append(backoff[1:], 10) {
		// virt-handler uses one object for all tries, and a second one panics (kubevirt PR 18622).
		plugin, err := newPlugin(n, os.Args[2], len(os.Args) > 3)
		if err == nil {
			err = plugin.Start(stop)
		}
		select {
		case <-stop:
			return
		default:
		}
		fmt.Fprintln(os.Stderr, "tdx device plugin:", err)
		time.Sleep(backoff[0] * time.Second)
	}
}
