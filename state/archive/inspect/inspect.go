// Package inspect shows people what is in a snapshot: counts by table and by
// key prefix, and the records as lines of JSON.
//
// It reads an archive once, holds counts only, and verifies what it read. It
// does not change archives.
package inspect

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tinylib/msgp/msgp"

	"github.com/legate-project/legate/state/archive"
)

// keys is the number of the table of the key/value store; its primary keys are
// the keys.
const keys = 1

// maxPrefixes bounds the prefixes that are counted one by one; what comes after
// counts as "(others)".
const maxPrefixes = 100_000

// Options say what is counted beyond the tables.
type Options struct {
	// KVDetails counts the key/value store by the first KVDepth parts of the
	// keys, those with the prefix KVFilter only.
	KVDetails bool
	KVDepth   int
	KVFilter  string
}

// Report is what a snapshot holds.
type Report struct {
	// Program that wrote it.
	Program string
	Meta    archive.Meta
	// KV counts keys by prefix, largest first; empty without KVDetails.
	KV []Prefix `json:",omitempty"`
}

// Prefix is how much there is below one.
type Prefix struct {
	Name  string
	Count uint64
	Bytes uint64
}

// Archive reads the whole archive and reports. Errors are those of
// archive.Read.
func Archive(r io.Reader, o Options) (*Report, error) {
	found := NewPrefixes(o)
	meta, err := archive.Read(r, func(row archive.Row) error {
		if row.Record() && row.Table() == keys {
			found.Add(string(row.PrimaryKey()), len(row.Key)+len(row.Value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Report{Program: "Legate", Meta: meta, KV: found.List()}, nil
}

// Prefixes counts keys by prefix.
type Prefixes struct {
	o     Options
	found map[string]*Prefix
}

// NewPrefixes counts what the options ask for.
func NewPrefixes(o Options) *Prefixes { return &Prefixes{o: o, found: map[string]*Prefix{}} }

// Add counts a key whose record has size bytes.
func (p *Prefixes) Add(key string, size int) {
	if !p.o.KVDetails || !strings.HasPrefix(key, p.o.KVFilter) {
		return
	}
	name := prefix(key, p.o.KVDepth)
	one := p.found[name]
	if one == nil {
		if len(p.found) >= maxPrefixes {
			name = "(others)"
		}
		if one = p.found[name]; one == nil {
			one = &Prefix{Name: name}
			p.found[name] = one
		}
	}
	one.Count++
	one.Bytes += uint64(size)
}

// List is what was counted, largest first.
func (p *Prefixes) List() (list []Prefix) {
	for _, one := range slices.SortedFunc(maps.Values(p.found), func(a, b *Prefix) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	}) {
		list = append(list, *one)
	}
	return list
}

// Write writes what was counted in columns, and nothing where that was not asked
// for.
func (p *Prefixes) Write(to io.Writer) error {
	return columns(to, func(w io.Writer) { writeKV(w, p.List()) })
}

func writeKV(w io.Writer, list []Prefix) {
	if list != nil {
		fmt.Fprint(w, "\nKey Name\tCount\tSize\n")
	}
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\n", p.Name, p.Count, Size(p.Bytes))
	}
}

// columns aligns what write writes, parted by tabs.
func columns(to io.Writer, write func(io.Writer)) error {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	write(w)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := to.Write(buf.Bytes())
	return err
}

// prefix is the first parts of a key, up to depth of them.
func prefix(key string, depth int) string {
	parts := strings.SplitAfterN(key, "/", max(depth, 1)+1)
	if len(parts) > depth {
		parts = parts[:max(depth, 1)]
	}
	return strings.TrimSuffix(strings.Join(parts, ""), "/")
}

// Write writes the report in columns.
func (r *Report) Write(to io.Writer) error { return columns(to, r.write) }

func (r *Report) write(w io.Writer) {
	m := &r.Meta
	fmt.Fprintf(w, "Program\t%s\nFormat\t%d\nVersion\t%s\nDatacenter\t%s\nNode\t%s\nTime\t%s\nIndex\t%d\nRaft Index\t%d\nTerm\t%d\n",
		r.Program, m.Format, m.Version, m.Datacenter, m.Node, m.Time.Format("2006-01-02 15:04:05 MST"), m.Index, m.RaftIndex, m.Term)
	fmt.Fprint(w, "\nType\tCount\tSize\n")
	tables := slices.SortedFunc(slices.Values(m.Tables), func(a, b archive.Table) int { return cmp.Compare(b.Bytes, a.Bytes) })
	for _, t := range tables {
		name := t.Name
		if t.Indexes {
			name += " (index)"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", name, t.Rows, Size(t.Bytes))
	}
	fmt.Fprintf(w, "Total\t%d\t%s\n", m.Rows, Size(m.Bytes))
	writeKV(w, r.KV)
}

// Size is a number of bytes for people.
func Size(n uint64) string {
	f, unit := float64(n), 0
	for ; f >= 1024 && unit < 4; unit++ {
		f /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%cB", f, " KMGT"[unit])
}

// line is one record of Decode.
type line struct {
	Type  string
	Index uint64 // of the command that wrote it
	Key   string // in base64 where it is no plain text
	Value json.RawMessage
}

// Decode writes one line of JSON for each record: its table, index, key and
// fields, bytes in base64. What was written before an error is not to be
// trusted.
func Decode(r io.Reader, to io.Writer) error {
	out := bufio.NewWriter(to)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var body bytes.Buffer
	_, err := archive.Read(r, func(row archive.Row) error {
		if !row.Record() {
			return nil
		}
		body.Reset()
		if _, err := msgp.UnmarshalAsJSON(&body, row.Body()); err != nil {
			return fmt.Errorf("decode a record of %s: %w", archive.TableName(row.Table()), err)
		}
		return enc.Encode(line{Type: archive.TableName(row.Table()), Index: binary.BigEndian.Uint64(row.Value), Key: text(row.PrimaryKey()), Value: body.Bytes()})
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func text(key []byte) string {
	for _, c := range key {
		if c < ' ' || c > '~' {
			return base64.StdEncoding.EncodeToString(key)
		}
	}
	return string(key)
}
