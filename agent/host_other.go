//go:build !linux

package agent

import "runtime"

// fill tells what the Go runtime knows.
func (h *hostInfo) fill() {
	for i := range runtime.NumCPU() {
		h.CPU = append(h.CPU, hostCPU{CPU: int32(i), Cores: 1, Flags: []string{}})
	}
	h.Errors = append(h.Errors, "memory and disk are only read on Linux")
}
