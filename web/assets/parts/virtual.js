// A long list of which only what can be seen is in the page. It scrolls with the page, all rows
// have one height, and readers of the screen are told how many there are.
import { html, useLayoutEffect, useRef, useState } from '../lib/dom.js'

const around = 12 // rows above and below what is seen

// List draws rows: head is the row of names, row draws one item, height is that of a row in pixels.
export function List({ items, height, head, row, label, keyOf }) {
  const box = useRef(), [range, set] = useState([0, 40])
  useLayoutEffect(() => {
    let due = 0
    const look = () => {
      due = 0
      if (!box.current) return
      const top = -box.current.getBoundingClientRect().top
      const from = Math.max(0, Math.floor(top / height) - around), to = Math.ceil((top + innerHeight) / height) + around
      set(was => was[0] === from && was[1] === to ? was : [from, to])
    }
    const later = () => { due ||= requestAnimationFrame(look) }
    addEventListener('scroll', later, { passive: true })
    addEventListener('resize', later)
    look()
    return () => { removeEventListener('scroll', later); removeEventListener('resize', later); cancelAnimationFrame(due) }
  }, [height, items.length])
  const from = Math.min(range[0], Math.max(0, items.length - 1)), shown = items.slice(from, range[1])
  return html`<div role="table" aria-label=${label} aria-rowcount=${items.length + 1} class="rows">
    <div role="rowgroup"><div role="row" aria-rowindex="1" class="row head">${head.map(h => html`<span role="columnheader">${h}</span>`)}</div></div>
    <div role="rowgroup" ref=${box} style=${{ height: items.length * height + 'px', position: 'relative' }}>
      ${shown.map((item, i) => html`<div role="row" key=${keyOf(item)} aria-rowindex=${from + i + 2} class="row" style=${{ position: 'absolute', top: (from + i) * height + 'px', height: height + 'px' }}>${row(item)}</div>`)}
    </div></div>`
}

// useNarrow says whether the window is narrow: rows are higher then.
export function useNarrow() {
  const query = matchMedia('(max-width: 720px)'), [is, set] = useState(query.matches)
  useLayoutEffect(() => {
    const look = () => set(query.matches)
    query.addEventListener('change', look)
    return () => query.removeEventListener('change', look)
  }, [])
  return is
}
