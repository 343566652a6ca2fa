// Round trips between all datacenters, as each sees the others.
import { html } from '../lib/dom.js'
import { ms, percent } from '../lib/fmt.js'

function Cell({ from, to, link, most }) {
  if (from === to) return html`<td class="self" aria-label="itself">·</td>`
  const seen = link && (link.a === from ? link.ab : link.ba)
  const trip = seen?.RoundTripMS > 0 ? seen.RoundTripMS : link?.guessed ? link.trip : NaN
  if (seen?.State === 'unreachable') return html`<td class="cut">cut</td>`
  if (!(trip > 0)) return html`<td class="muted" title=${`${from} has not said`}>?</td>`
  const more = [seen?.Loss >= 0.005 && `${percent(seen.Loss)} lost`, seen?.Through?.length && `via ${seen.Through.join(', ')}`].filter(Boolean).join(', ')
  return html`<td style=${{ '--share': Math.round(trip / most * 100) + '%' }} class="trip">${link.guessed ? '≈ ' : ''}${ms(trip)}${more && html`<small>${more}</small>`}</td>`
}

export function Matrix({ sites, links }) {
  const by = new Map(links.flatMap(l => [[`${l.a} ${l.b}`, l], [`${l.b} ${l.a}`, l]]))
  const most = Math.max(1, ...links.map(l => l.trip).filter(v => v > 0))
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of round trips"><table class="matrix">
    <thead><tr><th scope="col"><span class="sr">from</span> ↓ → <span class="sr">to</span></th>${sites.map(s => html`<th scope="col">${s.dc}</th>`)}</tr></thead>
    <tbody>${sites.map(p => html`<tr key=${p.dc}><th scope="row">${p.dc}</th>${sites.map(q => html`<${Cell} key=${q.dc} from=${p.dc} to=${q.dc} link=${by.get(`${p.dc} ${q.dc}`)} most=${most} />`)}</tr>`)}</tbody>
  </table></div>
  <p class="muted hint">From the datacenter of the row to that of the column, as the row measured it. Darker is longer.</p>`
}
