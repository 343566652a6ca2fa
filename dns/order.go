package dns

// order is a random order of numbers from 0, drawn one after the other: what is not asked for
// is not drawn. It is as x.order draws.
type order struct {
	at    []uint16 // what stands where; in order between two uses
	moved []uint16 // with which place each place was exchanged
}

func newOrder() order {
	o := order{at: make([]uint16, maxItems), moved: make([]uint16, 0, maxItems)}
	for i := range o.at {
		o.at[i] = uint16(i)
	}
	return o
}

// next draws the next number, of those below end that are left.
func (o *order) next(end int, draw func(n int) int) int {
	i := len(o.moved)
	j := i
	if n := end - i; n > 1 {
		j += draw(n)
	}
	o.moved = append(o.moved, uint16(j))
	o.at[i], o.at[j] = o.at[j], o.at[i]
	return int(o.at[i])
}

// reset is called after use.
func (o *order) reset() {
	for i := len(o.moved) - 1; i >= 0; i-- {
		j := o.moved[i]
		o.at[i], o.at[j] = o.at[j], o.at[i]
	}
	o.moved = o.moved[:0]
}

// shuffled are at most limit of the numbers below n, drawn in the same way.
func shuffled(n, limit int, draw func(n int) int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	limit = min(n, limit)
	for i := range limit {
		if left := n - i; left > 1 {
			j := i + draw(left)
			out[i], out[j] = out[j], out[i]
		}
	}
	return out[:limit]
}
