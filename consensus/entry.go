package consensus

import (
	"encoding/binary"
	"fmt"
)

// Bounds of one log entry. 256 KiB take a disk about as long to write as to
// sync; more commands an entry would only add to their latency.
const (
	maxEntryBytes    = 256 << 10
	maxEntryCommands = 4096
	// MaxCommandBytes bounds one command; one above maxEntryBytes gets an entry
	// of its own. The largest values and transactions of clients are far below.
	MaxCommandBytes = 8 << 20
)

// entryVersion is the first byte of an entry: then the number of commands and,
// for each, its length and bytes; numbers are uvarints.
const entryVersion = 1

func encodeCommands(commands [][]byte) []byte {
	size := 1 + binary.MaxVarintLen64
	for _, c := range commands {
		size += binary.MaxVarintLen32 + len(c)
	}
	buf := append(make([]byte, 0, size), entryVersion)
	buf = binary.AppendUvarint(buf, uint64(len(commands)))
	for _, c := range commands {
		buf = append(binary.AppendUvarint(buf, uint64(len(c))), c...)
	}
	return buf
}

// decodeCommands returns the commands of an entry; they alias data.
func decodeCommands(data []byte) ([][]byte, error) {
	if len(data) == 0 || data[0] != entryVersion {
		return nil, fmt.Errorf("%w: its version is not %d", ErrBadEntry, entryVersion)
	}
	count, rest, err := uvarint(data[1:])
	if err != nil {
		return nil, err
	}
	if count > maxEntryCommands || count > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: %d commands in %d bytes", ErrBadEntry, count, len(rest))
	}
	commands := make([][]byte, 0, count)
	for range count {
		var n uint64
		if n, rest, err = uvarint(rest); err != nil {
			return nil, err
		}
		if n > uint64(len(rest)) {
			return nil, fmt.Errorf("%w: a command of %d bytes in %d", ErrBadEntry, n, len(rest))
		}
		commands = append(commands, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the last command", ErrBadEntry, len(rest))
	}
	return commands, nil
}

func uvarint(data []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, nil, fmt.Errorf("%w: a length is cut off", ErrBadEntry)
	}
	return v, data[n:], nil
}
