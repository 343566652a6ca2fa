// How far something has got that takes a while, and what became of changes of many keys.
import { html } from '../lib/dom.js'
import { inWords } from '../lib/bulk.js'
import { plural } from '../lib/fmt.js'
import { Icon } from './state.js'

export const Progress = ({ what, now, of }) => html`<div>
  <p role="status">${what} ${now.toLocaleString('en')} of ${of.toLocaleString('en')} …</p>
  <progress class="progress" value=${now} max=${Math.max(1, of)} aria-label=${what}></progress></div>`

// ends says what closing a dialog does while something is under way in it.
export const ends = html`<p class="hint">To close this ends it after the keys that are under way.</p>`

const named = 20

const Names = ({ title, of }) => of.length > 0 && html`<details><summary>${title}</summary>
  <ul class="plain mono names">${of.slice(0, named).map(k => html`<li key=${k}>${k}</li>`)}</ul>
  ${of.length > named && html`<p class="muted">and ${plural(of.length - named, 'key')} more</p>`}</details>`

// Report says what became of changes: of is what run of bulk.js returned, done the word for it.
export function Report({ of, done, onClose }) {
  const whole = !of.error && ['changed', 'refused', 'unsure', 'left'].every(k => of[k].length === 0)
  return html`<div class=${'notice ' + (whole ? 'good' : 'warn')} role=${whole ? 'status' : 'alert'}>
    <${Icon} state=${whole ? 'good' : 'warning'} size=${20} /><div class="stack">
    ${of.error && html`<p class="what">It broke off: ${of.error.message}</p>`}
    ${inWords(of, done, plural).map(line => html`<p key=${line}>${line}</p>`)}
    <${Names} title="Changed by somebody else" of=${of.changed.map(o => o.key)} /><${Names} title="Refused" of=${of.refused.map(r => r.op.key)} />
    <${Names} title="Not known" of=${of.unsure.map(o => o.key)} /><${Names} title="Not begun with" of=${of.left.map(o => o.key)} />
    <div class="buttons"><button type="button" class="small" onClick=${onClose}>Close</button></div></div></div>`
}
