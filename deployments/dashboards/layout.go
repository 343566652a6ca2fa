package dashboards

import "strings"

// Sizes in Grafana's grid.
const (
	gridWidth   = 24
	rowHeight   = 1
	statHeight  = 4
	graphHeight = 8
)

// Place is a rectangle of the grid.
type Place struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Placed is a panel, or the title of a row, where it stands.
type Placed struct {
	ID    int
	Place Place
	Row   string // of a title; Panel is empty then
	Panel Panel
}

// Layout gives each panel its place and number. Panels of a row that have the
// same height share lines of equal widths.
func (d Dashboard) Layout() (out []Placed) {
	y := 0
	add := func(p Placed) {
		p.ID = len(out) + 1
		out = append(out, p)
	}
	for _, r := range d.Rows {
		add(Placed{Row: r.Title, Place: Place{H: rowHeight, W: gridWidth, X: 0, Y: y}})
		y += rowHeight
		for rest := r.Panels; len(rest) > 0; {
			h, n := height(rest[0]), 0
			for n < len(rest) && height(rest[n]) == h {
				n++
			}
			line := across(n, h)
			for i, p := range rest[:line] {
				w := gridWidth / line
				add(Placed{Panel: p, Place: Place{H: h, W: w, X: i * w, Y: y}})
			}
			y += h
			rest = rest[line:]
		}
	}
	return out
}

func height(p Panel) int {
	if p.Kind == Stat {
		return statHeight
	}
	return graphHeight
}

// across is how many of n panels of a height stand in the next line.
func across(n, height int) int {
	most := 3
	if height == statHeight {
		most = 6
	}
	for lines := 1; ; lines++ {
		if each := (n + lines - 1) / lines; each <= most && (gridWidth%each == 0 || lines == n) {
			return each
		}
	}
}

// Selector is what {@} stands for.
func (d Dashboard) Selector() string {
	return `dc=~"$dc",node=~"$node",instance=~"$instance"`
}

// Query is the expression as Grafana gets it.
func (d Dashboard) Query(expr string) string {
	return strings.ReplaceAll(expr, "@", d.Selector())
}
