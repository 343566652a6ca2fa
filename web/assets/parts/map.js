// The map of datacenters: distances on it are round trips, as nearly as a plane can show them.
import { html, useLayoutEffect, useMemo, useRef, useState } from '../lib/dom.js'
import { path } from '../lib/router.js'
import { layout, misfit, remembering } from '../lib/layout.js'
import { radius, spread, place, direct, through, label } from '../lib/drawing.js'
import { ms, percent, plural, clock } from '../lib/fmt.js'
import { Shape, kindOf } from './state.js'

// Up to so many datacenters all links are drawn; beyond, those of the one pointed at or, else, of
// the own one. A phone has room for fewer.
const few = 6, fewNarrow = 3, narrow = 460
const settle = 0.04 // of the largest round trip: smaller changes do not move the map
const gap = 96      // pixels between the middles of two places, if there is room
const ring = 8      // around who is cut off

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

// Where places were, for as long as the tab is open: neither a visit to another page nor a datacenter that is cut off
// turns the map round.
const memory = 'legate.map', remembered = 256
let places = recall()

function recall() {
  try {
    const list = JSON.parse(sessionStorage.getItem(memory) ?? '[]')
    return new Map(list.filter(([dc, at]) => typeof dc === 'string' && at.length === 2 && at.every(Number.isFinite)))
  } catch { return new Map() } // whatever is there is no map
}

function remember(names, points) {
  names.forEach((n, i) => { places.delete(n); places.set(n, points[i]) })
  places = new Map([...places].slice(-Math.max(remembered, names.length)))
  sessionStorage.setItem(memory, JSON.stringify([...places].slice(-remembered)))
}

// distances is the matrix of round trips; of those that are cut the last that is known.
function distances(names, links) {
  const at = new Map(names.map((n, i) => [n, i])), d = names.map(() => names.map(() => NaN))
  const put = of => {
    for (const l of links.filter(of)) d[at.get(l.a)][at.get(l.b)] = d[at.get(l.b)][at.get(l.a)] = Math.max(l.trip, 0.5) // next door is not on top of each other
  }
  put(l => l.trip > 0 && l.state !== 'unreachable')
  const kept = remembering(names, d, places)
  for (const l of links) {
    const i = at.get(l.a), j = at.get(l.b)
    if (!(kept[i][j] > 0) && l.trip > 0) kept[i][j] = kept[j][i] = l.trip
  }
  return kept
}

// usePlaces lays the map out anew when values have moved enough to be seen.
function usePlaces(names, links) {
  const kept = useRef({ points: [], d: undefined, names: '', off: 0 }).current
  return useMemo(() => {
    const d = distances(names, links), most = Math.max(...d.flat().filter(v => v > 0), 1)
    const moves = (v, i, j) => i !== j && v > 0 && !(Math.abs(v - kept.d[i][j]) < settle * most)
    if (kept.names !== names.join() || d.some((row, i) => row.some((v, j) => moves(v, i, j)))) {
      const points = layout(names, d, places)
      remember(names, points)
      Object.assign(kept, { d, points, names: names.join(), off: misfit(points, d) })
    }
    return kept
  }, [names, links]) // replaced with each answer
}

const span = list => Math.max(...list) - Math.min(...list)
const padX = width => Math.min(96, width / 5), padY = 56, highest = 460, lowest = 240, forRuler = 20

// frame maps places into a drawing of a width at one scale, moves neighbours apart, and says how high the drawing is
// and how long a round figure of milliseconds is in it.
function frame(points, width) {
  const w = span(points.map(p => p[0])), h = span(points.map(p => p[1]))
  const scale = Math.min(w > 0 ? (width - 2 * padX(width)) / w : Infinity, h > 0 ? (highest - 2 * padY) / h : Infinity)
  const used = Number.isFinite(scale) ? scale : 1, crowd = Math.sqrt(width * highest / points.length) / 2
  const spots = spread(points.map(([x, y]) => [x * used, y * used]), Math.min(gap, crowd))
  const xs = spots.map(p => p[0]), ys = spots.map(p => p[1]), height = Math.round(Math.max(lowest, span(ys) + 2 * padY)) + forRuler
  const dx = width / 2 - (Math.max(...xs) + Math.min(...xs)) / 2, dy = (height - forRuler) / 2 - (Math.max(...ys) + Math.min(...ys)) / 2
  const ruler = [500, 200, 100, 50, 20, 10, 5, 2, 1].find(v => v * used < width / 4) ?? 0.5
  return { spots: spots.map(([x, y]) => [x + dx, y + dy]), height, ruler, rulerWidth: ruler * used, scaled: Number.isFinite(scale) }
}

// saidOf is what a label says of a link: two short lines.
function saidOf(l) {
  if (l.state === 'unreachable') return ['cut']
  const far = l.via.length > 0, way = far ? `through ${l.via.join(', ')}` : l.path.startsWith('by') ? l.path : ''
  const more = [l.loss >= 0.005 && `${percent(l.loss)} lost`, way, l.state === 'degraded' && 'degraded'].filter(Boolean)
  return [`${far ? `${l.a}–${l.b}: ` : ''}${l.guessed ? '≈ ' : ''}${ms(l.trip)}`, ...more] // its line ends at others, too
}

function lineOf(l) {
  if (l.state === 'unreachable') return 'cut'
  if (l.state === 'degraded' || l.loss >= 0.01) return 'hurt'
  return l.guessed ? 'guessed' : l.via.length ? 'via' : l.path.startsWith('by') ? 'gate' : 'direct'
}

const troubled = l => ['cut', 'hurt'].includes(lineOf(l))
const keyOf = l => `${l.a} ${l.b}`

// secondOf is the small line below the name of a datacenter.
const secondOf = site => site.cut ? `cut off${site.heard ? ` since ${clock(site.heard)}` : ''}` : site.state !== 'up' ? site.word : ''

const Label = ({ link, lines, of: { x, y, w, h } }) => html`<g class=${`link ${lineOf(link)}`}><rect x=${x - w / 2} y=${y - h / 2} width=${w} height=${h} rx="4" />
  ${lines.map((t, i) => html`<text x=${x} y=${y - h / 2 + 13.5 + i * 14} class=${i > 0 ? 'second' : ''}>${t}</text>`)}</g>`

function Site({ site, at: [x, y], text, name, second, point, dim }) {
  const facts = [site.leader && `led by ${site.leader}`, site.servers > 0 && `${site.answering} of ${plural(site.servers, 'server')} answering`].filter(Boolean)
  const over = () => point(site.dc), out = () => point(''), top = text.y - text.h / 2 + 14
  const all = [[name, second].filter(Boolean).join(' '), site.word, ...facts, 'show its services'].join(', ')
  return html`<a class=${`site ${kindOf(site.state)} ${dim ? 'dim' : ''}`} href=${path(site.dc, 'services')} aria-label=${all}
      onMouseEnter=${over} onMouseLeave=${out} onFocus=${over} onBlur=${out}>
    ${site.cut && html`<circle class="broken" cx=${x} cy=${y} r=${radius + ring - 1} />`}
    <circle class="halo" cx=${x} cy=${y} r=${radius} />
    <g transform=${`translate(${x - 12} ${y - 12}) scale(1.5)`}><${Shape} state=${site.state} /></g>
    <text x=${text.x} y=${top} class="name">${name}</text>${' '}
    ${second && html`<text x=${text.x} y=${top + 15} class="second">${second}</text>`}
  </a>`
}

// draw decides where everything is: the sites, their texts, the lines of the links and what is said on them. near
// picks the links of the one that is pointed at, if one is; where it is crowded some of those may say nothing.
function draw({ sites, drawn, points, width, height, here, near, crowded }) {
  const spots = new Map(sites.map((s, i) => [s.dc, points[i]]))
  const names = sites.map(s => s.dc + (s.dc === here ? ' (here)' : '')), seconds = sites.map(s => secondOf(s))
  const sizes = sites.map((s, i) => ({ w: Math.max(names[i].length * 8.6, seconds[i].length * 6.5) + 4, h: seconds[i] ? 35 : 20, ring: s.cut ? ring : 0 }))
  const by = l => l.via.length && l.via.every(dc => spots.has(dc)) ? through([l.a, ...l.via, l.b].map(dc => spots.get(dc))) : undefined
  const texts = place(points, sizes, drawn.map(l => by(l) ?? [spots.get(l.a), spots.get(l.b)]), width, height)
  const routes = drawn.map(l => {
    const a = spots.get(l.a), b = spots.get(l.b)
    return by(l) ?? direct(a, b, points.filter(p => p !== a && p !== b), texts)
  })
  const said = drawn.map(saidOf), wide = lines => Math.max(...lines.map((t, k) => t.length * (k ? 6 : 6.6))) + 10
  const items = drawn.map((l, i) => ({ line: routes[i], w: wide(said[i]), h: said[i].length * 14 + 4, must: troubled(l) || (!crowded && !!near?.(l)) }))
  const shown = near ? items.filter((_, i) => near(drawn[i])) : items
  const { boxes, whole } = label(shown, points, texts, width, height)
  const box = new Map(shown.map((item, i) => [item, boxes[i]]))
  return {
    whole, sites: sites.map((site, i) => ({ site, at: points[i], text: texts[i], name: names[i], second: seconds[i] })),
    links: drawn.map((link, i) => ({ link, line: routes[i], lines: said[i], label: whole || near || items[i].must ? box.get(items[i]) : undefined })),
  }
}

const legend = [['direct', 'direct'], ['gate', 'by gateways'], ['via', 'no direct link: goes through another'], ['hurt', 'degraded or lossy'], ['guessed', 'estimated'], ['cut', 'cut']]
const Legend = ({ styles }) => styles.size > 0 && html`<span class="legend">${legend.filter(([k]) => styles.has(k)).map(([k, word]) => html`
  <span class=${'link ' + k}><svg width="28" height="8" aria-hidden="true"><line x1="0" y1="4" x2="28" y2="4" /></svg>${word}</span>`)}</span>`

const Ruler = ({ x, y, width, text }) => html`<g class="ruler" transform=${`translate(${x} ${y})`}>
  <path d=${`M0-5V0H${width}V-5`} /><text x=${width / 2} y="-8">${text}</text></g>`

const d = line => 'M' + line.map(p => p.map(v => v.toFixed(1)).join(' ')).join('L')

function scaleNote(n, off) {
  const near = n > 2 ? ` (drawn to about ${Math.max(1, Math.round(off * 100))} %; neighbours are moved apart)` : ''
  return `The further apart, the longer the round trip${near}. This is not geography. A tick is about servers, not services.`
}

export function Map2D({ sites, links, here }) {
  const box = useRef(), width = useWidth(box), [pointed, point] = useState('')
  const names = useMemo(() => sites.map(s => s.dc), [sites])
  const { points, off } = usePlaces(names, links)
  const crowded = sites.length > (width > narrow ? few : fewNarrow)
  const { spots, height, ruler, rulerWidth, scaled } = frame(points, Math.max(width, 200))
  const near = l => [l.a, l.b].includes(pointed || here), cut = new Set(sites.filter(s => s.cut).map(s => s.dc))
  // Who is cut off has one mark, not many lines.
  const drawn = links.filter(l => !cut.has(l.a) && !cut.has(l.b) && (!crowded || near(l) || lineOf(l) === 'cut'))
  const map = width > 0 && draw({ sites, drawn, points: spots, width, height: height - forRuler, here, near: pointed ? near : undefined, crowded })
  const styles = new Set(drawn.map(lineOf))
  const dims = dc => crowded && pointed && dc !== pointed && !links.some(l => near(l) && [l.a, l.b].includes(dc))
  return html`<figure class="map" ref=${box}>
    ${map && html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label="Map of datacenters: the farther apart, the longer the round trip">
      ${map.links.map(({ link: l, line }) => html`<path key=${keyOf(l)} class=${`link ${lineOf(l)} ${pointed && !near(l) ? 'dim' : ''}`} d=${d(line)} />`)}
      ${map.links.filter(l => l.label).map(l => html`<${Label} key=${keyOf(l.link)} link=${l.link} lines=${l.lines} of=${l.label} />`)}
      ${map.sites.map(s => html`<${Site} key=${s.site.dc} ...${s} point=${point} dim=${dims(s.site.dc)} />`)}
      ${scaled && sites.length > 1 && html`<${Ruler} x=${width - rulerWidth - 14} y=${height - 2} width=${rulerWidth} text=${`${ruler} ms`} />`}
    </svg>`}
    <figcaption>
      <${Legend} styles=${styles} />
      ${map && !pointed && (crowded || !map.whole) && html`<span>Point at a datacenter for ${crowded ? 'its links' : 'the numbers of its links'}.</span>`}
      <span class="muted">${scaleNote(sites.length, off)}${links.length > 0 && !links[0].guessed ? ' A number is the mean of both directions.' : ''}</span>
    </figcaption>
  </figure>`
}
