// Package clustertest is what tests that run federations share.
package clustertest

import (
	"errors"
	"io"
	"net"
)

// FreeNetwork finds a second byte of loopback addresses that no other process uses, and holds it
// until it is closed.
func FreeNetwork() (byte, io.Closer, error) {
	for n := byte(1); n < 250; n++ {
		l, err := net.Listen("tcp", net.JoinHostPort(net.IPv4(127, n, 255, 254).String(), "8300"))
		if err == nil {
			return n, l, nil
		}
	}
	return 0, nil, errors.New("no loopback network is free")
}
