// Health checks with what they said, and what is known of a thing as names with values.
import { html } from '../lib/dom.js'
import { State, Icon } from './state.js'

const worst = { critical: 0, warning: 1, passing: 2 }
export const stateOf = checks => checks.some(c => c.Status === 'critical') ? 'critical' : checks.some(c => c.Status === 'warning') ? 'warning' : 'passing'
export const sortChecks = checks => [...checks].sort((a, b) => (worst[a.Status] ?? 3) - (worst[b.Status] ?? 3) || a.Name.localeCompare(b.Name))

// count says how many checks there are of each status.
export const count = checks => checks.reduce((sum, c) => ({ ...sum, [c.Status]: (sum[c.Status] ?? 0) + 1 }), {})

export const Checks = ({ of }) => of.length === 0 ? html`<p class="muted">No checks: it is taken to be well.</p>` : html`<ul class="checks">${sortChecks(of).map(c => html`
  <li key=${c.Node + ' ' + c.CheckID}><details open=${c.Status !== 'passing'}>
    <summary><${State} state=${c.Status} /> <b>${c.Name || c.CheckID}</b> <span class="muted">${[c.Type, c.Interval && `every ${c.Interval}`, c.ServiceID ? '' : 'of the node'].filter(Boolean).join(', ')}</span></summary>
    <pre>${c.Output || 'It has said nothing.'}</pre>${c.Notes && html`<p class="muted">${c.Notes}</p>`}</details></li>`)}</ul>`

export const Tags = ({ of }) => (of ?? []).map(t => html`<span class="tag" title=${t}>${t}</span> `)

// Facts lists names with values; what is empty is left out.
export const Facts = ({ of }) => html`<dl class="facts">${of.filter(([, v]) => v !== undefined && v !== '' && v !== null).map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>`

export function Meta({ of, title = 'Metadata' }) {
  const pairs = Object.entries(of ?? {}).sort(([a], [b]) => a.localeCompare(b))
  return html`<section class="panel"><h2>${title}</h2>${pairs.length ? html`<dl class="facts mono">${pairs.map(([k, v]) => html`<div key=${k}><dt>${k}</dt><dd>${v}</dd></div>`)}</dl>` : html`<p class="muted">None.</p>`}</section>`
}

export const Small = ({ state }) => html`<${Icon} state=${state} size=${12} />`
