//go:build linux

package observe

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/legate-project/legate/deployments/dashboards"
)

const (
	column      = vg.Length(36) // a column of the grid, in points
	line        = vg.Length(21) // a row of the grid
	dpi         = 96
	mostSeries  = 9         // that a graph names
	maxPicture  = 300 << 10 // bytes of a file
	pictureStep = time.Second
)

// shades are the colours of series.
func shades() []color.Color {
	var out []color.Color
	for _, rgb := range [][3]uint8{{31, 119, 180}, {255, 127, 14}, {44, 160, 44}, {214, 39, 40}, {148, 103, 189}, {140, 86, 75}, {227, 119, 194}, {100, 100, 100}, {188, 189, 34}} {
		out = append(out, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
	}
	return out
}

// named are Grafana's colours.
func named(c dashboards.Color) color.Color {
	switch c {
	case dashboards.Red:
		return color.RGBA{222, 66, 66, 255}
	case dashboards.Yellow:
		return color.RGBA{236, 187, 19, 255}
	case dashboards.Blue:
		return color.RGBA{120, 160, 210, 255}
	}
	return color.RGBA{86, 166, 75, 255}
}

// page draws panels where the dashboard has them.
type page struct {
	t    *testing.T
	p    *prometheus
	d    dashboards.Dashboard
	c    vgdraw.Canvas
	high vg.Length
	from time.Time
	to   time.Time
}

// picture draws a dashboard from what Prometheus recorded.
func picture(t *testing.T, p *prometheus, d dashboards.Dashboard, file string) {
	t.Helper()
	places := d.Layout()
	last := places[len(places)-1].Place
	high := vg.Length(last.Y+last.H)*line + 6
	img := vgimg.NewWith(vgimg.UseWH(24*column, high), vgimg.UseDPI(dpi))
	g := &page{t: t, p: p, d: d, c: vgdraw.New(img), high: high, from: p.began, to: time.Now()}
	for _, place := range places {
		g.place(place)
	}
	b, err := small(img.Image())
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > maxPicture {
		t.Errorf("%s has %d bytes", file, len(b))
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// small encodes a picture with few colours.
func small(from image.Image) ([]byte, error) {
	var colors color.Palette
	for _, c := range append(shades(), color.White, color.Black, named(dashboards.Red), named(dashboards.Yellow), named(dashboards.Blue), named(dashboards.Green)) {
		for _, share := range []uint32{100, 75, 50, 30, 15} { // of it on white, for smooth edges
			r, g, b, _ := c.RGBA()
			mix := func(v uint32) uint8 { return uint8((v>>8*share + 255*(100-share)) / 100) }
			colors = append(colors, color.RGBA{mix(r), mix(g), mix(b), 255})
		}
	}
	for v := range 24 {
		colors = append(colors, color.Gray{uint8(v * 11)}, heat(float64(v)/24))
	}
	out := image.NewPaletted(from.Bounds(), colors)
	draw.Draw(out, out.Bounds(), from, image.Point{}, draw.Src)
	var b bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out)
	return b.Bytes(), err
}

func (g *page) place(p dashboards.Placed) {
	box := vgdraw.Canvas{Canvas: g.c.Canvas, Rectangle: vg.Rectangle{
		Min: vg.Point{X: vg.Length(p.Place.X) * column, Y: g.high - vg.Length(p.Place.Y+p.Place.H)*line},
		Max: vg.Point{X: vg.Length(p.Place.X+p.Place.W) * column, Y: g.high - vg.Length(p.Place.Y)*line},
	}}
	if p.Row != "" {
		g.text(box, box.Min.X+6, box.Min.Y+6, 11, color.Black, p.Row)
		return
	}
	box = vgdraw.Crop(box, 3, -3, 3, -3)
	border(box, color.Gray{200})
	g.text(box, box.Min.X+5, box.Max.Y-12, 9, color.Black, p.Panel.Title)
	inner := vgdraw.Crop(box, 5, -5, 4, -21)
	switch p.Panel.Kind {
	case dashboards.Stat:
		g.stat(inner, p.Panel)
	case dashboards.Table:
		g.table(inner, p.Panel)
	case dashboards.Timeline:
		g.timeline(inner, p.Panel)
	case dashboards.Heatmap:
		g.heatmap(inner, p.Panel)
	default:
		g.lines(inner, p.Panel)
	}
}

func border(c vgdraw.Canvas, with color.Color) {
	r := c.Rectangle
	c.StrokeLines(vgdraw.LineStyle{Color: with, Width: 0.6}, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min})
}

func fill(c vgdraw.Canvas, with color.Color, r vg.Rectangle) {
	c.FillPolygon(with, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}})
}

func style(size vg.Length, with color.Color) text.Style {
	return text.Style{Color: with, Font: font.From(plot.DefaultFont, size), Handler: plot.DefaultTextHandler}
}

// text writes what fits between x and the right side.
func (g *page) text(c vgdraw.Canvas, x, y, size vg.Length, with color.Color, words string) {
	s := style(size, with)
	s.Font.Variant = "Sans"
	for len(words) > 0 && x+s.Width(words) > c.Max.X {
		words = words[:len(words)-1]
	}
	c.FillText(s, vg.Point{X: x, Y: y}, words)
}

var legendForm = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

func legendOf(q dashboards.Query, s series) string {
	return strings.Join(strings.Fields(legendForm.ReplaceAllStringFunc(q.Legend, func(m string) string {
		return s.labels[legendForm.FindStringSubmatch(m)[1]]
	})), " ")
}

// drawn is a series with its name.
type drawn struct {
	series
	name string
}

// chosen is a query as somebody has it who chose all agents that have a name, or
// a client agent of the dashboard of one.
func (g *page) chosen(expr string) string {
	node := `".+"`
	if g.d.One {
		node = `"c1"`
	}
	return concrete(g.d, strings.ReplaceAll(g.d.Query(expr), `"$node"`, node))
}

func (g *page) ask(p dashboards.Panel) (out []drawn) {
	for _, q := range p.Queries {
		found, err := g.p.over(g.chosen(q.Expr), g.from, pictureStep)
		if err != nil {
			g.t.Errorf("%s: %s: %v", g.d.UID, p.Title, err)
		}
		for _, s := range found {
			out = append(out, drawn{s, legendOf(q, s)})
		}
	}
	slices.SortFunc(out, func(a, b drawn) int { return cmp.Compare(a.name, b.name) })
	return out
}

func highest(s series) (v float64) {
	v = math.Inf(-1)
	for _, p := range s.points {
		v = max(v, p.value)
	}
	return v
}

func (g *page) seconds(at time.Time) float64 { return at.Sub(g.from).Seconds() }

// lines draws a graph over its legend. Of many series the highest are drawn.
func (g *page) lines(c vgdraw.Canvas, p dashboards.Panel) {
	all := g.ask(p)
	hidden := 0
	if len(all) > mostSeries {
		slices.SortStableFunc(all, func(a, b drawn) int { return cmp.Compare(highest(b.series), highest(a.series)) })
		hidden = len(all) - mostSeries
		all = all[:mostSeries]
		slices.SortFunc(all, func(a, b drawn) int { return cmp.Compare(a.name, b.name) })
	}
	rows := vg.Length((len(all) + 2) / 3)
	pl := plot.New()
	g.axes(pl, p.Unit)
	top := 0.0
	for i, s := range all {
		var gap []plotter.XYs
		for k, pt := range s.points {
			if k == 0 || pt.at.Sub(s.points[k-1].at) > 3*pictureStep {
				gap = append(gap, nil)
			}
			gap[len(gap)-1] = append(gap[len(gap)-1], plotter.XY{X: g.seconds(pt.at), Y: pt.value})
			top = max(top, pt.value)
		}
		for _, xys := range gap {
			if len(xys) == 1 {
				xys = append(xys, plotter.XY{X: xys[0].X + 1, Y: xys[0].Y})
			}
			l, err := plotter.NewLine(xys)
			if err != nil {
				g.t.Fatal(err)
			}
			l.Color, l.Width = shades()[i], 1
			pl.Add(l)
		}
	}
	pl.Y.Min, pl.Y.Max = min(0, pl.Y.Min), max(top*1.08, 1e-9)
	if top == 0 {
		pl.Y.Max = 1
	}
	pl.Draw(vgdraw.Crop(c, 0, 0, rows*9, 0))
	width := (c.Max.X - c.Min.X) / 3
	for i, s := range all {
		x, y := c.Min.X+vg.Length(i%3)*width, c.Min.Y+(rows-1-vg.Length(i/3))*9
		fill(c, shades()[i], vg.Rectangle{Min: vg.Point{X: x, Y: y + 1}, Max: vg.Point{X: x + 6, Y: y + 5}})
		cell := c
		cell.Max.X = x + width - 2
		g.text(cell, x+8, y, 7, color.Black, s.name)
	}
	if hidden > 0 {
		g.text(c, c.Max.X-64, c.Max.Y+1, 6.5, color.Gray{110}, fmt.Sprintf("and %d more below", hidden))
	}
}

// axes are those of time and of a unit.
func (g *page) axes(pl *plot.Plot, unit dashboards.Unit) {
	pl.X.Min, pl.X.Max = 0, g.seconds(g.to)
	for _, a := range []*plot.Axis{&pl.X, &pl.Y} {
		a.Tick.Label.Font.Size, a.Tick.Label.Font.Variant, a.Tick.Length, a.LineStyle.Width, a.Tick.LineStyle.Width = 6.5, "Sans", 2, 0.4, 0.4
		a.Padding = 1
	}
	pl.X.Tick.Marker = ticks(func(v float64) string { return fmt.Sprintf("%d:%02d", int(v)/60, int(v)%60) })
	pl.Y.Tick.Marker = ticks(func(v float64) string { return said(v, unit) })
	pl.BackgroundColor = color.Transparent
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{230}, color.Gray{230}
	grid.Vertical.Width, grid.Horizontal.Width = 0.3, 0.3
	pl.Add(grid)
}

// ticks names the ticks of an axis.
type ticks func(float64) string

// Ticks implements plot.Ticker.
func (f ticks) Ticks(lo, hi float64) (out []plot.Tick) {
	for _, t := range (plot.DefaultTicks{}).Ticks(lo, hi) {
		if t.Label != "" {
			out = append(out, plot.Tick{Value: t.Value, Label: f(t.Value)})
		}
	}
	return out
}

// said is a value with its unit.
func said(v float64, unit dashboards.Unit) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	large := func(v, base float64, names ...string) string {
		i := 0
		for math.Abs(v) >= base && i < len(names)-1 {
			v /= base
			i++
		}
		return number(v) + names[i]
	}
	switch unit {
	case dashboards.Seconds:
		switch a := math.Abs(v); {
		case a == 0:
			return "0 s"
		case a < 1e-3:
			return number(v*1e6) + " µs"
		case a < 1:
			return number(v*1e3) + " ms"
		case a >= 120:
			return number(v/60) + " min"
		}
		return number(v) + " s"
	case dashboards.Share:
		return number(v*100) + " %"
	case dashboards.Bytes:
		return large(v, 1024, " B", " KiB", " MiB", " GiB")
	case dashboards.BytesPerSec:
		return large(v, 1000, " B/s", " kB/s", " MB/s")
	case dashboards.PerSec:
		return large(v, 1000, "/s", "k/s")
	}
	return large(v, 1000, "", "k", "M")
}

func colorOf(p dashboards.Panel, v float64) color.Color {
	out := named(dashboards.Green)
	for i, t := range p.Thresholds {
		if i == 0 || v >= t.From {
			out = named(t.Color)
		}
	}
	return out
}

// stat shows the newest values, and how they came about.
func (g *page) stat(c vgdraw.Canvas, p dashboards.Panel) {
	all := g.ask(p)
	if len(all) > 3 {
		all = all[:3]
	}
	width := (c.Max.X - c.Min.X) / vg.Length(max(len(all), 1))
	for i, s := range all {
		v := s.points[len(s.points)-1].value
		cell := c
		cell.Min.X += vg.Length(i) * width
		cell.Max.X = cell.Min.X + width - 2
		fill(cell, colorOf(p, v), cell.Rectangle)
		size, words := vg.Length(14), said(v, p.Unit)
		for size > 7 && style(size, color.White).Width(words) > width-10 {
			size--
		}
		g.text(cell, cell.Min.X+5, cell.Min.Y+(cell.Max.Y-cell.Min.Y)/2, size, color.White, words)
		g.text(cell, cell.Min.X+5, cell.Max.Y-9, 7, color.White, s.name)
		top, high := max(highest(s.series), 1e-9), (cell.Max.Y-cell.Min.Y)/2-4
		var pts []vg.Point
		for _, pt := range s.points {
			pts = append(pts, vg.Point{X: cell.Min.X + vg.Length(g.seconds(pt.at)/g.seconds(g.to))*(cell.Max.X-cell.Min.X), Y: cell.Min.Y + 1 + vg.Length(pt.value/top)*high})
		}
		cell.StrokeLines(vgdraw.LineStyle{Color: color.White, Width: 0.8}, pts)
	}
}

// timeline draws a bar for each series, coloured by its value.
func (g *page) timeline(c vgdraw.Canvas, p dashboards.Panel) {
	all := g.ask(p)
	names := vg.Length(92)
	high := (c.Max.Y - c.Min.Y - 10) / vg.Length(max(len(all), 1))
	span := c.Max.X - c.Min.X - names
	at := func(s float64) vg.Length { return c.Min.X + names + vg.Length(s/g.seconds(g.to))*span }
	for i, s := range all {
		y := c.Max.Y - vg.Length(i+1)*high
		cell := c
		cell.Max.X = c.Min.X + names - 3
		g.text(cell, c.Min.X, y+high/2-3, min(7, high), color.Black, s.name)
		for k := 0; k < len(s.points); {
			end := k + 1
			for end < len(s.points) && s.points[end].value == s.points[k].value && s.points[end].at.Sub(s.points[end-1].at) <= 3*pictureStep {
				end++
			}
			r := vg.Rectangle{Min: vg.Point{X: at(g.seconds(s.points[k].at)), Y: y + 1}, Max: vg.Point{X: at(g.seconds(s.points[end-1].at) + 1), Y: y + high - 1}}
			fill(c, colorOf(p, s.points[k].value), r)
			word := c
			word.Max.X = r.Max.X - 1
			if w := p.Words[strconv.FormatFloat(s.points[k].value, 'g', -1, 64)]; r.Max.X-r.Min.X > 34 {
				g.text(word, r.Min.X+2, y+high/2-3, min(7, high), color.White, w.Text)
			}
			k = end
		}
	}
	for m := 0.0; m <= g.seconds(g.to)/60; m++ {
		g.text(c, at(m*60), c.Min.Y, 6.5, color.Black, fmt.Sprintf("%d:00", int(m)))
	}
}

// table shows the newest values by their labels.
func (g *page) table(c vgdraw.Canvas, p dashboards.Panel) {
	var columns []string
	rows, order := map[string]map[string]string{}, []string(nil)
	for _, q := range p.Queries {
		found, err := g.p.instant(g.chosen(q.Expr))
		if err != nil {
			g.t.Error(err)
		}
		for _, s := range found {
			var labels []string
			for k := range s.labels {
				labels = append(labels, k)
			}
			slices.Sort(labels)
			key := ""
			for _, k := range labels {
				key += s.labels[k] + " "
			}
			if rows[key] == nil {
				rows[key] = map[string]string{}
				order = append(order, key)
			}
			for _, k := range labels {
				rows[key][k] = s.labels[k]
				if !slices.Contains(columns, k) {
					columns = append(columns, k)
				}
			}
			rows[key][q.Legend] = said(s.points[0].value, p.Unit)
		}
		columns = append(columns, q.Legend)
	}
	width := (c.Max.X - c.Min.X) / vg.Length(len(columns))
	for i, name := range columns {
		cell := c
		cell.Max.X = c.Min.X + vg.Length(i+1)*width
		x, y := c.Min.X+vg.Length(i)*width, c.Max.Y-10
		g.text(cell, x, y, 7.5, color.Gray{90}, name)
		for _, key := range order {
			if y -= 12; y > c.Min.Y {
				g.text(cell, x, y, 7.5, color.Black, rows[key][name])
			}
		}
	}
}

func heat(share float64) color.Color {
	return color.RGBA{255 - uint8(60*share), 245 - uint8(190*share), 235 - uint8(215*share), 255}
}

// heatmap draws a field for each bucket and moment, darker for more.
func (g *page) heatmap(c vgdraw.Canvas, p dashboards.Panel) {
	all := g.ask(p)
	bound := func(s drawn) float64 {
		v, err := strconv.ParseFloat(s.labels["le"], 64)
		if err != nil {
			g.t.Error(err)
		}
		return v
	}
	slices.SortFunc(all, func(a, b drawn) int { return cmp.Compare(bound(a), bound(b)) })
	if len(all) == 0 {
		return
	}
	const names = vg.Length(34)
	high := (c.Max.Y - c.Min.Y - 10) / vg.Length(len(all))
	const fields = 90
	counts, most := make([][fields]float64, len(all)), 0.0
	below := [fields]float64{}
	for i, s := range all {
		upTo := [fields]float64{}
		for _, pt := range s.points {
			upTo[min(int(g.seconds(pt.at)/g.seconds(g.to)*fields), fields-1)] += pt.value
		}
		for k := range fields {
			counts[i][k] = max(0, upTo[k]-below[k])
			most = max(most, counts[i][k])
		}
		below = upTo
	}
	width := (c.Max.X - c.Min.X - names) / fields
	for i := range all {
		y := c.Min.Y + 10 + vg.Length(i)*high
		if label := bound(all[i]); i%2 == 0 && !math.IsInf(label, 1) {
			g.text(c, c.Min.X, y+high/2-3, 6.5, color.Black, said(label, p.Unit))
		}
		for k, n := range counts[i] {
			if n > 0 {
				x := c.Min.X + names + vg.Length(k)*width
				fill(c, heat(0.15+0.85*math.Sqrt(n/most)), vg.Rectangle{Min: vg.Point{X: x, Y: y}, Max: vg.Point{X: x + width, Y: y + high}})
			}
		}
	}
	for m := 0.0; m <= g.seconds(g.to)/60; m++ {
		g.text(c, c.Min.X+names+vg.Length(m*60/g.seconds(g.to))*(c.Max.X-c.Min.X-names), c.Min.Y, 6.5, color.Black, fmt.Sprintf("%d:00", int(m)))
	}
}
