// Round trips estimated from network coordinates (Vivaldi), as Consul computes them.

// estimate returns the round trip between two coordinates in milliseconds, NaN if either is broken.
export function estimate(a, b) {
  if (!a?.Vec || !b?.Vec || a.Vec.length !== b.Vec.length) return NaN
  const apart = Math.hypot(...a.Vec.map((v, i) => v - b.Vec[i])) + a.Height + b.Height
  const adjusted = apart + a.Adjustment + b.Adjustment
  return (adjusted > 0 ? adjusted : apart) * 1000
}

const median = list => {
  const sorted = list.filter(v => v > 0).sort((a, b) => a - b)
  return sorted.length ? sorted[sorted.length >> 1] : NaN
}

// medianBetween is the median over all pairs of nodes of two lists of { Coord }.
export const medianBetween = (as, bs) => median(as.flatMap(a => bs.map(b => estimate(a.Coord, b.Coord))))
