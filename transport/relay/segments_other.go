//go:build !linux

package relay

import "net"

func segments(*net.UDPConn) bool { return false }

func segmentSize([]byte) int { return 0 }

func withSegments(oob []byte, _, _ int) []byte { return oob }
