package debugcmd

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"io"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Of a profile in the form of pprof (profile.proto in github.com/google/pprof)
// only these fields are read: who was found at the top of how many stacks.
const (
	profileSample   protowire.Number = 2
	profileLocation protowire.Number = 4
	profileFunction protowire.Number = 5
	profileStrings  protowire.Number = 6

	sampleLocations protowire.Number = 1
	sampleValues    protowire.Number = 2
	locationID      protowire.Number = 1
	locationLine    protowire.Number = 4
	lineFunction    protowire.Number = 1
	functionID      protowire.Number = 1
	functionName    protowire.Number = 2
)

// Bounds of a profile, far above those of an agent with many goroutines.
const (
	maxStacks     = 500_000 // and texts
	maxStackBytes = 8 << 20
)

var errProfile = errors.New("it is no profile")

// holder is a function with what stands at it in a profile.
type holder struct {
	function string
	value    int64
}

// profile is what is read of one.
type profile struct {
	strings   []string
	functions map[uint64]uint64 // to the name's number
	locations map[uint64]uint64 // to the innermost function
	samples   []profileStack
}

type profileStack struct{ locations, values []uint64 }

// topHolders returns the functions with the greatest values and the sum of all;
// it fails if text is no profile. Of a sample's values the last counts, which of
// a heap is the bytes in use. keep chooses the function of a stack, innermost
// first; "" if none of it counts.
func topHolders(text []byte, keep func(stack []string) string) (top []holder, total int64, err error) {
	p, err := readProfile(text)
	if err != nil {
		return nil, 0, err
	}
	by := map[string]int64{}
	for _, s := range p.samples {
		if len(s.values) == 0 {
			continue
		}
		v := int64(s.values[len(s.values)-1])
		total += v
		var stack []string
		for _, l := range s.locations {
			stack = append(stack, p.name(l))
		}
		if at := keep(stack); at != "" {
			by[at] += v
		}
	}
	for function, value := range by {
		if value > 0 {
			top = append(top, holder{function, value})
		}
	}
	slices.SortFunc(top, func(a, b holder) int {
		return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.function, b.function))
	})
	return top, total, nil
}

func (p *profile) name(location uint64) string {
	if n := p.functions[p.locations[location]]; n < uint64(len(p.strings)) {
		return p.strings[n]
	}
	return ""
}

func readProfile(text []byte) (*profile, error) {
	if zip, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if text, err = io.ReadAll(io.LimitReader(zip, maxStackBytes)); err != nil {
			return nil, errProfile
		}
	}
	if len(text) >= maxStackBytes {
		return nil, errProfile
	}
	p := &profile{functions: map[uint64]uint64{}, locations: map[uint64]uint64{}}
	err := fields(text, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case profileStrings:
			p.strings = append(p.strings, string(b))
		case profileSample:
			var s profileStack
			err := fields(b, func(n protowire.Number, v uint64, packed []byte) (err error) {
				switch n {
				case sampleLocations:
					s.locations, err = numbers(s.locations, v, packed)
				case sampleValues:
					s.values, err = numbers(s.values, v, packed)
				}
				return err
			})
			if p.samples = append(p.samples, s); len(p.samples) > maxStacks {
				return errProfile
			}
			return err
		case profileLocation:
			return p.location(b)
		case profileFunction:
			var id, name uint64
			err := fields(b, func(n protowire.Number, v uint64, _ []byte) error {
				switch n {
				case functionID:
					id = v
				case functionName:
					name = v
				}
				return nil
			})
			p.functions[id] = name
			return err
		}
		return nil
	})
	if err == nil && len(p.strings) == 0 {
		err = errProfile
	}
	return p, err
}

func (p *profile) location(b []byte) error {
	var id, function uint64
	first := true
	err := fields(b, func(n protowire.Number, v uint64, line []byte) error {
		switch {
		case n == locationID:
			id = v
		case n == locationLine && first: // the innermost of those that were inlined
			first = false
			return fields(line, func(n protowire.Number, v uint64, _ []byte) error {
				if n == lineFunction {
					function = v
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = function
	return err
}

// fields calls f with the fields of a message: a number, or bytes.
func fields(b []byte, f func(protowire.Number, uint64, []byte) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errProfile
		}
		b = b[size:]
		var v uint64
		var inner []byte
		switch kind {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			inner, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(n, kind, b)
		}
		if size < 0 {
			return errProfile
		}
		b = b[size:]
		if err := f(n, v, inner); err != nil {
			return err
		}
	}
	return nil
}

// numbers appends one number, or many that are packed.
func numbers(to []uint64, one uint64, packed []byte) ([]uint64, error) {
	if packed == nil {
		return append(to, one), nil
	}
	for len(packed) > 0 {
		v, size := protowire.ConsumeVarint(packed)
		if size < 0 {
			return nil, errProfile
		}
		to, packed = append(to, v), packed[size:]
	}
	return to, nil
}
