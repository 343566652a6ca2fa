// Texts of values as they are looked at: in the colours of their language, and how two differ.
import { html, useMemo } from '../lib/dom.js'
import { around, diff, shown } from '../lib/diff.js'
import { highlight } from '../lib/highlight.js'
import { plural } from '../lib/fmt.js'

// Code draws a text; language is one of highlight.js, '' for none.
export function Code({ text, language, label }) {
  const draw = ([kind, t]) => kind ? html`<span class=${'hl-' + kind}>${t}</span>` : t
  const parts = useMemo(() => highlight(language, text).map(draw), [text, language])
  return html`<pre class="code" tabindex="0" role="region" aria-label=${label}>${parts}</pre>`
}

const signs = { '+': 'added', '-': 'taken', ' ': '' }

// Difference shows what takes the place of what; from is null where there was nothing.
export function Difference({ from, to, label = 'What changes' }) {
  const { lines, more } = useMemo(() => shown(from === null ? to.split('\n').map(l => ['+', l]) : around(diff(from, to))), [from, to])
  const left = text => html`<span class="muted">… ${text} …${'\n'}</span>`
  return html`<pre class="diff" tabindex="0" role="region" aria-label=${label}>
    ${lines.map(([sign, line]) => sign === null ? left(`${plural(line, 'line')} as before`)
      : html`<span class=${signs[sign]}>${sign} ${line}${'\n'}</span>`)}
    ${more > 0 && left(`and ${plural(more, 'line')} more, which are not shown`)}</pre>`
}
