// Package sockets opens what an agent's HTTP interface listens at: TCP addresses, and
// Unix sockets with the rights that the configuration gives them.
package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"github.com/legate-project/legate/config"
)

// Listen opens a TCP address or the socket of a unix:// path. A socket that an
// earlier run left behind is replaced, unless somebody still answers there.
func Listen(addr string, rights config.UnixSockets) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, "unix://")
	if !unix {
		return net.Listen("tcp", addr)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("%s is in use", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return listenUnix(path, rights)
}

// listenUnix opens a socket with the rights that the configuration gives it: whose
// it is, and who may write, by the umask where there is no mode. Until it has them
// one with a mode is its owner's alone.
func listenUnix(path string, rights config.UnixSockets) (net.Listener, error) {
	uid, gid, err := ownerOf(rights)
	if err != nil {
		return nil, err
	}
	var how net.ListenConfig
	if rights.Mode != "" {
		how.Control = func(_, _ string, c syscall.RawConn) error {
			// Where the system knows no rights of a socket without a name, they are set
			// a moment later.
			return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
		}
	}
	l, err := how.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if rights.User != "" || rights.Group != "" {
		err = os.Chown(path, uid, gid)
	}
	if err == nil && rights.Mode != "" {
		var n uint64
		if n, err = strconv.ParseUint(rights.Mode, 8, 32); err == nil {
			err = os.Chmod(path, os.FileMode(n))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unix_sockets: %w", err), l.Close())
	}
	return l, nil
}

// ownerOf returns the numbers of the owner and the group, -1 for none given.
func ownerOf(rights config.UnixSockets) (uid, gid int, err error) {
	uid, gid = -1, -1
	if rights.User != "" {
		if uid, err = number(rights.User, func() (string, error) {
			u, err := user.Lookup(rights.User)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return 0, 0, fmt.Errorf("unix_sockets.user: %w", err)
		}
	}
	if rights.Group != "" {
		if gid, err = number(rights.Group, func() (string, error) {
			g, err := user.LookupGroup(rights.Group)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}); err != nil {
			return 0, 0, fmt.Errorf("unix_sockets.group: %w", err)
		}
	}
	return uid, gid, nil
}

// number reads an ID, or looks the name up.
func number(text string, look func() (string, error)) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := look()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}
