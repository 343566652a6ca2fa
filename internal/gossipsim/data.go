package gossipsim

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

//go:embed testdata/cloud-regions-10.csv
var cloudRegions []byte

//go:embed testdata/planetlab-490.csv.gz
var planetLabGzip []byte

// CloudRegions returns the round trips between ten regions of one cloud.
func CloudRegions() ([][]time.Duration, error) {
	r := csv.NewReader(bytes.NewReader(cloudRegions))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read round trips of cloud regions: %w", err)
	}
	for i := range rows {
		rows[i] = rows[i][1:] // the name
	}
	return matrix(rows[1:])
}

// PlanetLab returns the round trips between n of 490 hosts of PlanetLab,
// spread evenly over the list, which has neighbours beside each other.
func PlanetLab(n int) ([][]time.Duration, error) {
	z, err := gzip.NewReader(bytes.NewReader(planetLabGzip))
	if err != nil {
		return nil, fmt.Errorf("read round trips of PlanetLab: %w", err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("read round trips of PlanetLab: %w", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(plain)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read round trips of PlanetLab: %w", err)
	}
	all, err := matrix(rows)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > len(all) {
		return nil, fmt.Errorf("read round trips of PlanetLab: %d hosts wanted, there are %d", n, len(all))
	}
	out := make([][]time.Duration, n)
	for i := range out {
		out[i] = make([]time.Duration, n)
		for j := range out {
			out[i][j] = all[i*len(all)/n][j*len(all)/n]
		}
	}
	return out, nil
}

// matrix reads milliseconds. Both directions become the mean of the two; what
// was measured in one only is that; nothing at all is unmeasured.
func matrix(rows [][]string) ([][]time.Duration, error) {
	ms := make([][]float64, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			f, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				return nil, fmt.Errorf("read round trips: row %d: %w", i, err)
			}
			ms[i] = append(ms[i], f)
		}
		if len(row) != len(rows) {
			return nil, fmt.Errorf("read round trips: row %d has %d of %d columns", i, len(row), len(rows))
		}
	}
	out := make([][]time.Duration, len(ms))
	for i := range ms {
		out[i] = make([]time.Duration, len(ms))
		for j := range ms {
			a, b := ms[i][j], ms[j][i]
			switch {
			case i == j:
				continue
			case a <= 0 && b <= 0:
				a, b = unmeasured, unmeasured
			case a <= 0:
				a = b
			case b <= 0:
				b = a
			}
			out[i][j] = time.Duration((a + b) / 2 * float64(time.Millisecond))
		}
	}
	return out, nil
}

// unmeasured stands for pairs without a value, in milliseconds.
const unmeasured = 100
