// The map of datacenters: distances on it are round trips, as nearly as a plane can show them.
import { html, useLayoutEffect, useMemo, useRef, useState } from '../lib/dom.js'
import { path } from '../lib/router.js'
import { layout, misfit } from '../lib/layout.js'
import { ms, percent, plural, clock } from '../lib/fmt.js'
import { Shape, kindOf } from './state.js'

// Up to so many datacenters all links are labelled; beyond, those of the one pointed at or, else,
// of the own one. A phone has room for fewer.
const few = 6, fewNarrow = 3, narrow = 460
const settle = 0.04 // of the largest round trip: smaller changes do not move the map

// useWidth is the width of an element in pixels, so that text in a drawing keeps its size.
export function useWidth(ref) {
  const [width, set] = useState(0)
  useLayoutEffect(() => {
    const look = new ResizeObserver(([e]) => set(Math.round(e.contentRect.width)))
    look.observe(ref.current)
    set(Math.round(ref.current.getBoundingClientRect().width))
    return () => look.disconnect()
  }, [])
  return width
}

// distances is the matrix of round trips; what is cut keeps the one that was measured last.
function distances(names, links, last) {
  const at = new Map(names.map((n, i) => [n, i]))
  const d = names.map(() => names.map(() => NaN))
  for (const l of links) {
    const key = `${l.a} ${l.b}`
    if (l.trip > 0 && l.state !== 'unreachable') last.set(key, l.trip)
    const trip = last.get(key) ?? l.trip
    const i = at.get(l.a), j = at.get(l.b)
    d[i][j] = d[j][i] = trip > 0 ? Math.max(trip, 0.5) : NaN // those that are next door are not on top of each other
  }
  return d
}

// usePlaces lays the map out anew when values have moved enough to be seen.
function usePlaces(names, links) {
  const kept = useRef({ places: new Map(), last: new Map(), d: undefined, names: '' }).current
  return useMemo(() => {
    const d = distances(names, links, kept.last), most = Math.max(...d.flat().filter(v => v > 0), 1)
    const moved = kept.names !== names.join() || d.some((row, i) => row.some((v, j) => i !== j && !(Math.abs(v - kept.d[i][j]) < settle * most) && v > 0))
    if (moved) {
      const points = layout(names, d, kept.places)
      kept.places = new Map(names.map((n, i) => [n, points[i]]))
      Object.assign(kept, { d, names: names.join(), off: misfit(points, d) })
    }
    return kept
  }, [names, links]) // replaced with each answer
}

const padding = width => [Math.min(96, width / 5), 64]
const span = list => Math.max(...list) - Math.min(...list)

// heightFor is how high a drawing must be for places to fill its width, within bounds.
function heightFor(points, width) {
  const [padX, padY] = padding(width), w = span(points.map(p => p[0])), h = span(points.map(p => p[1]))
  const wanted = w > 0 ? (width - 2 * padX) / w * h + 2 * padY : 0
  return Math.round(Math.min(460, Math.max(260, wanted)))
}

// frame maps places into the drawing at one scale, and says how long a round figure of
// milliseconds is in it.
function frame(points, width, height) {
  const [padX, padY] = padding(width)
  const xs = points.map(p => p[0]), ys = points.map(p => p[1]), w = span(xs), h = span(ys)
  const scale = Math.min(w > 0 ? (width - 2 * padX) / w : Infinity, h > 0 ? (height - 2 * padY) / h : Infinity)
  const used = Number.isFinite(scale) ? scale : 1
  const cx = (Math.max(...xs) + Math.min(...xs)) / 2, cy = (Math.max(...ys) + Math.min(...ys)) / 2
  const ruler = [500, 200, 100, 50, 20, 10, 5, 2, 1].find(v => v * used < width / 4) ?? 0.5
  return { at: ([x, y]) => [width / 2 + (x - cx) * used, height / 2 - 8 + (y - cy) * used], ruler, rulerWidth: ruler * used, scaled: Number.isFinite(scale) }
}

// saidOf is what a label says of a link: two short lines.
function saidOf(l) {
  if (l.state === 'unreachable') return ['cut']
  const more = [l.loss >= 0.005 ? `${percent(l.loss)} lost` : '', l.path && l.path !== 'direct' ? l.path : '', l.state === 'degraded' ? 'degraded' : ''].filter(Boolean)
  return [`${l.guessed ? '≈ ' : ''}${ms(l.trip)}`, ...more]
}

const lineOf = l => l.state === 'unreachable' ? 'cut' : l.state === 'degraded' || l.loss >= 0.01 ? 'hurt' : l.guessed ? 'guessed' : l.path.startsWith('via') ? 'via' : l.path.startsWith('by') ? 'gate' : 'direct'

const shortest = 96 // pixels of a line that has room for a label
const spots = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74] // where on its line a label may be, best first

// placeLabels finds a place for the label of each link, those in trouble first: one that is free
// of the others, of the sites and of their names. Where none is, the matrix alone says it, unless
// there is trouble.
function placeLabels(links, spot, sites, above) {
  const taken = sites.flatMap(s => {
    const [x, y] = spot(s.dc)
    return [{ x, y, w: 44, h: 44 }, { x, y: y + (above(s.dc) ? -38 : 42), w: 112, h: 32 }]
  })
  const free = box => taken.every(o => Math.abs(o.x - box.x) * 2 > o.w + box.w || Math.abs(o.y - box.y) * 2 > o.h + box.h)
  const troubled = l => ['cut', 'hurt'].includes(lineOf(l)), labels = new Map()
  for (const l of [...links].sort((p, q) => troubled(q) - troubled(p))) {
    const [x1, y1] = spot(l.a), [x2, y2] = spot(l.b)
    if (Math.hypot(x2 - x1, y2 - y1) < shortest) continue
    const lines = saidOf(l)
    const w = Math.max(...lines.map(t => t.length)) * 6.6 + 12, h = lines.length * 14 + 6
    const boxes = spots.map(t => ({ x: x1 + t * (x2 - x1), y: y1 + t * (y2 - y1), w, h }))
    const box = boxes.find(free) ?? (troubled(l) && boxes[0])
    if (!box) continue
    taken.push(box)
    labels.set(l, { ...box, lines })
  }
  return labels
}

function Label({ link, of: { x, y, w, h, lines } }) {
  return html`<g class=${`link ${lineOf(link)}`}><rect x=${x - w / 2} y=${y - h / 2} width=${w} height=${h} rx="4" />
    ${lines.map((t, i) => html`<text x=${x} y=${y - h / 2 + 15 + i * 14} class=${i > 0 ? 'second' : ''}>${t}</text>`)}</g>`
}

// isAbove says whether the text of a site stands over it: away from the others, near ones first.
function isAbove(dc, sites, spot) {
  const [x, y] = spot(dc)
  let push = 0
  for (const s of sites) {
    const [u, v] = spot(s.dc), far = Math.hypot(x - u, y - v)
    if (far > 1) push += (y - v) / far ** 3
  }
  return push < -1e-9
}

function Site({ site, at, above, here, more, point, dim }) {
  const [x, y] = at, text = above ? y - (more ? 41 : 27) : y + 36
  const facts = [site.leader && `led by ${site.leader}`, site.servers > 0 && `${site.answering} of ${plural(site.servers, 'server')} answering`].filter(Boolean)
  const name = site.dc + (here ? ' (here)' : ''), second = !more ? '' : site.cut ? `cut off${site.heard ? ` since ${clock(site.heard)}` : ''}` : site.state !== 'up' ? site.word : site.leader ? `leader ${site.leader}` : ''
  const over = () => point(site.dc), out = () => point('')
  return html`<a class=${`site ${kindOf(site.state)} ${dim ? 'dim' : ''}`} href=${path(site.dc, 'services')} aria-label=${[[name, second].filter(Boolean).join(' '), site.word, ...facts, 'show its services'].join(', ')}
      onMouseEnter=${over} onMouseLeave=${out} onFocus=${over} onBlur=${out}>
    <circle class="halo" cx=${x} cy=${y} r="19" />
    <g transform=${`translate(${x - 12} ${y - 12}) scale(1.5)`}><${Shape} state=${site.state} /></g>
    <text x=${x} y=${text} class="name">${name}</text>${' '}
    ${second && html`<text x=${x} y=${text + 15} class="second">${second}</text>`}
  </a>`
}

const legend = [['direct', 'direct'], ['gate', 'by gateways'], ['via', 'via another'], ['hurt', 'degraded or lossy'], ['cut', 'cut']]

export function Map2D({ sites, links, here }) {
  const box = useRef(), width = useWidth(box), [pointed, point] = useState('')
  const names = useMemo(() => sites.map(s => s.dc), [sites])
  const { places, off } = usePlaces(names, links)
  const height = heightFor(names.map(n => places.get(n)), width)
  const { at, ruler, rulerWidth, scaled } = frame(names.map(n => places.get(n)), Math.max(width, 200), height)
  const spot = dc => at(places.get(dc)), crowded = sites.length > (width > narrow ? few : fewNarrow)
  const near = l => [l.a, l.b].includes(pointed || here)
  const drawn = crowded ? links.filter(l => near(l) || lineOf(l) === 'cut') : links
  const above = dc => sites.length > 2 && isAbove(dc, sites, spot)
  const labels = placeLabels(drawn.filter(l => (crowded || pointed ? near(l) : true)), spot, sites, above)
  const styles = new Set(drawn.map(lineOf))
  return html`<figure class="map" ref=${box}>
    ${width > 0 && html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label="Map of datacenters: the farther apart, the longer the round trip">
      ${drawn.map(l => html`<line key=${l.a + ' ' + l.b} class=${`link ${lineOf(l)} ${pointed && !near(l) ? 'dim' : ''}`} x1=${spot(l.a)[0]} y1=${spot(l.a)[1]} x2=${spot(l.b)[0]} y2=${spot(l.b)[1]} />`)}
      ${[...labels].map(([l, label]) => html`<${Label} key=${l.a + ' ' + l.b} link=${l} of=${label} />`)}
      ${sites.map(s => html`<${Site} key=${s.dc} site=${s} at=${spot(s.dc)} above=${above(s.dc)} here=${s.dc === here} more=${s.state !== 'up' || (!crowded && width > narrow)} point=${point} dim=${crowded && pointed && pointed !== s.dc && !links.some(l => near(l) && (l.a === s.dc || l.b === s.dc))} />`)}
      ${scaled && sites.length > 1 && html`<g class="ruler" transform=${`translate(${width - rulerWidth - 14} ${height - 14})`}><path d=${`M0-5V0H${rulerWidth}V-5`} /><text x=${rulerWidth / 2} y="-8">${ruler} ms</text></g>`}
    </svg>`}
    <figcaption>
      <span class="legend">${legend.filter(([k]) => styles.has(k)).map(([k, word]) => html`<span class=${'link ' + k}><svg width="28" height="8" aria-hidden="true"><line x1="0" y1="4" x2="28" y2="4" /></svg>${word}</span>`)}</span>
      <span class="muted">${sites.length > 2 ? `Distance is round trip, within ${Math.max(1, Math.round(off * 100))} % on average.` : 'Distance is round trip.'}${crowded ? ' Point at a datacenter for its links.' : ''}</span>
    </figcaption>
  </figure>`
}
