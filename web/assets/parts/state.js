// How something is: always a shape and a word beside the colour.
import { html } from '../lib/dom.js'

// kinds are the states that things have here, with the words of checks and of the federation.
const kinds = {
  up: 'good', passing: 'good', good: 'good',
  warn: 'warn', warning: 'warn', degraded: 'warn', maintenance: 'warn',
  bad: 'bad', critical: 'bad', unreachable: 'bad',
  unknown: 'unknown', left: 'unknown', removed: 'unknown',
}

export const kindOf = state => kinds[state] ?? 'unknown'

const shapes = {
  good: html`<circle cx="8" cy="8" r="7" /><path class="ink" d="M4.8 8.2l2.2 2.2 4.2-4.6" />`,
  warn: html`<path d="M8 1.2 15.2 14H.8z" /><path class="ink" d="M8 6v3.6M8 11.4v.6" />`,
  bad: html`<path d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z" /><path class="ink" d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" />`,
  unknown: html`<circle class="hollow" cx="8" cy="8" r="6.2" /><path class="hollow" d="M5 8h6" />`,
}

// Shape is the symbol alone, within an SVG of 16 by 16.
export const Shape = ({ state }) => html`<g class=${'shape ' + kindOf(state)}>${shapes[kindOf(state)]}</g>`

export const Icon = ({ state, size = 16 }) => html`<svg class="icon" width=${size} height=${size} viewBox="0 0 16 16" aria-hidden="true"><${Shape} state=${state} /></svg>`

// State is symbol and word.
export const State = ({ state, word }) => html`<span class=${'state ' + kindOf(state)}><${Icon} state=${state} /><span>${word ?? state}</span></span>`

const parts = [['critical', 'critical'], ['warning', 'warning'], ['passing', 'passing']]

// Bar shows how many of something are critical, warning and passing: numbers with symbols,
// and their shares as a strip.
export function Bar({ of }) {
  const all = parts.reduce((sum, [k]) => sum + (of[k] ?? 0), 0)
  if (all === 0) return html`<span class="muted">no checks</span>`
  return html`<span class="bar">
    <span class="strip" aria-hidden="true">${parts.map(([k]) => of[k] > 0 && html`<i class=${kindOf(k)} style=${{ flexGrow: of[k] }} />`)}</span>
    <span class="counts">${parts.map(([k, word]) => of[k] > 0 && html`<span class=${'count ' + kindOf(k)} title=${`${of[k]} ${word}`}><${Icon} state=${k} size=${12} />${of[k].toLocaleString('en')}<span class="sr"> ${word}</span></span>`)}</span>
  </span>`
}
