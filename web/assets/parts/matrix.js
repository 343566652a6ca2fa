// Round trips between all datacenters, as each sees the others.
import { html } from '../lib/dom.js'
import { ms, percent, clock } from '../lib/fmt.js'

function Cell({ from, to, link, most, silent }) {
  if (from === to) return html`<td class="self" aria-label="itself"></td>`
  const seen = link && (link.a === from ? link.ab : link.ba)
  const trip = seen?.RoundTripMS > 0 ? seen.RoundTripMS : link?.guessed ? link.trip : NaN
  if (seen?.State === 'unreachable') return html`<td class="cut">cut</td>`
  if (!(trip > 0)) return html`<td class="muted">${silent ? '?' : '–'}</td>`
  const more = [seen?.Loss >= 0.005 && `${percent(seen.Loss)} lost`, seen?.Through?.length && `via ${seen.Through.join(', ')}`].filter(Boolean).join(', ')
  const share = Math.round(trip / most * 100) + '%'
  return html`<td style=${{ '--share': share }} class="trip">${link.guessed ? '≈ ' : ''}${ms(trip)}${more && html`<small>${more}</small>`}</td>`
}

// keysOf explains the signs that are in the table, and no others.
function keysOf(links, silent) {
  const ends = links.flatMap(l => [[l.a, l.ab], [l.b, l.ba]]), told = ends.filter(([dc]) => !silent.some(s => s.dc === dc))
  const names = silent.slice(0, 3).map(s => s.heard ? `${s.dc}, last heard at ${clock(s.heard)}` : s.dc).join('; ')
  const more = silent.length > 3 ? ` and ${silent.length - 3} more` : ''
  return [
    ends.some(([, l]) => l?.Through?.length) && ['via', 'there is no direct link, so the datacenter named passes it on. That works.'],
    ends.some(([, l]) => l?.State === 'unreachable') && ['cut', 'the datacenter of the row does not reach that of the column.'],
    silent.length > 0 && ['?', `the datacenter of the row has not reported: ${names}${more}.`],
    told.some(([, l]) => l?.State !== 'unreachable' && !(l?.RoundTripMS > 0)) && ['–', 'not measured yet.'],
  ].filter(Boolean)
}

export function Matrix({ sites, links }) {
  const by = new Map(links.flatMap(l => [[`${l.a} ${l.b}`, l], [`${l.b} ${l.a}`, l]])), guessed = links.some(l => l.guessed)
  const most = Math.max(1, ...links.map(l => l.trip).filter(v => v > 0)), silent = guessed ? [] : sites.filter(s => !s.told)
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of round trips"><table class="matrix">
    <thead><tr><th scope="col"><span>from ↓</span> <span>to →</span></th>${sites.map(s => html`<th scope="col">${s.dc}</th>`)}</tr></thead>
    <tbody>${sites.map(p => html`<tr key=${p.dc}><th scope="row">${p.dc}</th>${sites.map(q => html`
      <${Cell} key=${q.dc} from=${p.dc} to=${q.dc} link=${by.get(`${p.dc} ${q.dc}`)} most=${most} silent=${silent.includes(p)} />`)}</tr>`)}</tbody>
  </table></div>
  <p class="muted hint">${guessed ? 'Estimated from network coordinates.' : 'Each row is what that datacenter measured; one that is busy measures more than the other end.'} Stronger blue is longer.</p>
  ${!guessed && html`<dl class="keys-of muted">${keysOf(links, silent).map(([sign, means]) => html`<div key=${sign}><dt>${sign}</dt><dd>${means}</dd></div>`)}</dl>`}`
}
