// What narrows a list down: a text, and states with how many there are of each.
import { html } from '../lib/dom.js'
import { plural } from '../lib/fmt.js'
import { Icon } from './state.js'

export const SearchField = ({ label, value, onChange }) => html`<div class="search"><label for="search">${label}</label>
  <input id="search" type="search" data-search value=${value} onInput=${e => onChange(e.target.value)} spellcheck=${false} autocomplete="off" aria-keyshortcuts="/" /></div>`

const order = ['critical', 'warning', 'passing']

export function Statuses({ rows, value, onChange, what }) {
  const of = state => rows.filter(r => r.state === state).length
  return html`<div class="choice" role="group" aria-label="States">
    <button type="button" aria-pressed=${String(!value)} onClick=${() => onChange('')}>${plural(rows.length, what)}</button>
    ${order.map(s => (of(s) > 0 || value === s) && html`<button type="button" key=${s} aria-pressed=${String(value === s)} onClick=${() => onChange(value === s ? '' : s)}><${Icon} state=${s} size=${14} /> ${of(s).toLocaleString('en')} ${s}</button>`)}
  </div>`
}
