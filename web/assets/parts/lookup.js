// What a name resolves to, asked again for as long as somebody looks.
import { html, useId, useState } from '../lib/dom.js'
import { places, ttl, verdict } from '../lib/dns.js'
import { useFeed } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { Failure, Loading } from './notice.js'
import { Icon } from './state.js'

const every = 3000 // milliseconds
const shown = 20   // records, in a list beside other things

export const useExplained = (name, type) => useFeed('dns/explain/' + encodeURIComponent(name), { type }, { every, blocks: false })

export const pathOfName = (name, type = 'A') => path('dns') + `?name=${encodeURIComponent(name)}&type=${type}`

// Verdict is how an answer came out.
export function Verdict({ of }) {
  const { state, text, code } = verdict(of), where = places(of)
  return html`<p class=${'headline ' + state}><${Icon} state=${state} size=${20} /><b>${text}</b>
    ${code && html`<code class="muted">${code}</code>`} ${where && html`<span>${where}</span>`}</p>`
}

const srv = 'An SRV record has a priority, a weight, a port and a host. The lowest priority comes first, a greater weight more often.'

export const Records = ({ of, label }) => html`<table class="list cards" aria-label=${label}>
  <thead><tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">Data</th><th scope="col">TTL</th></tr></thead>
  <tbody>${of.map((r, i) => html`<tr key=${i}><th scope="row" class="mono">${r.Name}</th><td data-label="Type">${r.Type}</td>
    <td data-label="Data" class="mono">${r.Data}</td><td data-label="TTL">${ttl(r.TTL)}</td></tr>`)}</tbody></table>
  ${of.some(r => r.Type === 'SRV') && html`<p class="muted hint">${srv}</p>`}`

function Resolved({ name }) {
  const { data, error, meta } = useExplained(name, 'A')
  if (!data) return error ? html`<${Failure} error=${error} />` : html`<${Loading} what=${name} />`
  return html`<div class="resolved">
    ${error && html`<${Failure} error=${error} kept=${meta} />`}
    <${Verdict} of=${data} />
    <ul class="plain mono">${data.Answer.slice(0, shown).map((r, i) => html`
      <li key=${i}>${r.Data} <span class="muted">TTL ${ttl(r.TTL)}</span></li>`)}</ul>
    ${data.Answer.length > shown && html`<p class="muted">and ${data.Answer.length - shown} more</p>`}
    ${data.Answer.length === 0 && html`<ul class="plain">${data.Why.map(w => html`<li key=${w}>${w}</li>`)}</ul>`}
    <p><a href=${pathOfName(name)}>Why this answer</a></p></div>`
}

// Lookup is a button that opens what a name resolves to.
export function Lookup({ name }) {
  const [opened, open] = useState(false), id = useId()
  return html`<button type="button" class="small" aria-expanded=${String(opened)} aria-controls=${id} aria-label=${`Look up ${name}`}
      onClick=${() => open(!opened)}>Look up</button>
    <div id=${id} class="looked">${opened && html`<${Resolved} name=${name} />`}</div>`
}
