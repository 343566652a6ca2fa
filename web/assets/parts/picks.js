// One of a few: datacenters or views as links, what narrows a list down as buttons.
import { html } from '../lib/dom.js'
import { Icon } from './state.js'

// Links leads to the same page of something else; of is [text, address, whether it is this].
export const Links = ({ label, of }) => of.length > 1 && html`<nav class="choice" aria-label=${label}>${of.map(([text, to, now]) => html`<a class="button" key=${to} href=${to} aria-current=${now ? 'page' : undefined}>${text}</a>`)}</nav>`

// Picks is [value, text, state of its symbol].
export const Picks = ({ label, of, value, onChange }) => html`<div class="choice" role="group" aria-label=${label}>${of.map(([v, text, state]) =>
  html`<button type="button" key=${v} aria-pressed=${String(v === value)} onClick=${() => onChange(v)}>${state && html`<${Icon} state=${state} size=${14} />`} ${text}</button>`)}</div>`
