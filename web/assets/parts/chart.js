// A small chart of what changed in the last minutes, with its last, least and greatest value as text.
// What draws it is loaded when the first chart is shown.
import { html, useEffect, useMemo, useRef } from '../lib/dom.js'
import { range } from '../lib/metrics.js'

const height = 110 // pixels
let drawing

function load() {
  drawing ??= new Promise((resolve, reject) => {
    const href = new URL('../thirdparty/uplot.css', import.meta.url).href
    const style = Object.assign(document.createElement('link'), { rel: 'stylesheet', href })
    style.onload = () => import('../thirdparty/uplot.js').then(m => resolve(m.default), reject)
    style.onerror = reject
    document.head.append(style)
  })
  return drawing
}

// colour reads one of the page's colours as it is now: a canvas knows no variables.
function colour(box, name) {
  const probe = box.appendChild(Object.assign(document.createElement('i'), { hidden: true }))
  probe.style.color = `var(--${name})`
  const value = getComputedStyle(probe).color
  probe.remove()
  return value
}

const font = '11px system-ui, "DejaVu Sans", sans-serif'

// clock is times of the day, with seconds where those tell them apart.
const clock = (_, times) => times.map(t => new Date(t * 1000).toTimeString().slice(0, times.some(t => t % 60) ? 8 : 5))

function options(box, format, seconds) {
  const axis = { stroke: () => colour(box, 'muted'), font, grid: { stroke: () => colour(box, 'line'), width: 1 }, ticks: { show: false } }
  return {
    width: box.clientWidth, height, cursor: { show: false }, legend: { show: false }, padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, range: (_, from, to) => [Math.min(from, to - seconds), to] },
      y: { range: (_, least, most) => [0, most > 0 ? most * 1.15 : 1] },
    },
    series: [{}, { stroke: () => colour(box, 'accent'), width: 2, spanGaps: false, points: { show: false } }],
    axes: [{ ...axis, size: 24, space: 70, values: clock }, { ...axis, size: 62, space: 32, values: (_, list) => list.map(format) }],
  }
}

// useDrawing keeps a chart in a box; it follows its width and the colours of the page.
function useDrawing(points, format, seconds) {
  const box = useRef(), chart = useRef(), latest = useRef()
  latest.current = points
  useEffect(() => {
    let over = false
    const again = () => chart.current?.redraw(false, true)
    const dark = matchMedia('(prefers-color-scheme: dark)'), theme = new MutationObserver(again)
    const size = new ResizeObserver(() => chart.current?.setSize({ width: box.current.clientWidth, height }))
    load().then(Plot => {
      if (over) return
      chart.current = new Plot(options(box.current, format, seconds), latest.current, box.current)
      size.observe(box.current)
      dark.addEventListener('change', again)
      theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
    }, () => {}) // the text says the same
    return () => { over = true; size.disconnect(); theme.disconnect(); dark.removeEventListener('change', again); chart.current?.destroy() }
  }, [])
  useEffect(() => chart.current?.setData(points), [points])
  return box
}

const Range = ({ of, format }) => html`<span>last <b>${format(of.last)}</b></span>
  <span>least ${format(of.least)}</span><span>most ${format(of.most)}</span>`

// Chart draws values at times, in seconds since 1970; seconds is how long a time it shows at least.
export function Chart({ title, hint, times, values, format, seconds }) {
  const points = useMemo(() => [times, values], [times.at(-1)]), known = range(values), box = useDrawing(points, format, seconds)
  return html`<figure class="chart panel"><figcaption><b>${title}</b><span class="muted">${hint}</span></figcaption>
    <div class="drawing" ref=${box} aria-hidden="true" />
    <p class="range">${known ? html`<${Range} of=${known} format=${format} />` : html`<span class="muted">Nothing yet.</span>`}</p></figure>`
}
