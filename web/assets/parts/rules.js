// A text of rules with line numbers, and beside each rule what it grants, as the server reads it.
import { html, useEffect, useId, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { plural } from '../lib/fmt.js'
import { append, notes, templates } from '../lib/rules.js'
import { Icon } from './state.js'

const pause = 250      // milliseconds without typing, before the server is asked
const mostNotes = 500  // drawn beside the text
const lineHeight = 22  // pixels, as in access.css

// useReading is what the server says of a text: { notes, faults, error, of }; of is the text that it
// read. Without a text it is not asked.
export function useReading(dc, text) {
  const [reading, set] = useState({ notes: [], faults: 0 })
  useEffect(() => {
    if (text === undefined) return
    const end = new AbortController()
    const timer = setTimeout(async () => {
      try {
        const { data } = await ask('internal/acl/rules', { method: 'POST', params: { dc }, body: text, signal: end.signal })
        set({ notes: notes(data), faults: data.Faults.length, of: text })
      } catch (error) {
        if (!end.signal.aborted) set(was => ({ ...was, error }))
      }
    }, reading.of === undefined ? 0 : pause)
    return () => { clearTimeout(timer); end.abort() }
  }, [dc, text])
  return reading
}

const Note = ({ note: { line, text, fault } }) => html`
  <li class=${fault ? 'fault' : ''} style=${{ top: Math.max(0, line - 1) * lineHeight + 'px' }} title=${text}>
    ${fault && html`<${Icon} state="critical" size=${14} /> <span class="sr">wrong, </span>`}
    <span class="at">${line > 0 && `line ${line}: `}</span>${text}</li>`

// Verdict says in a line whether the text can be saved.
function Verdict({ reading: { notes: all, faults, error, of }, text }) {
  if (error) return html`<p class="field-error">The rules could not be checked: ${error.message}</p>`
  if (of !== text) return html`<p class="muted">Reading …</p>`
  if (faults) {
    return html`<p class="field-error"><${Icon} state="critical" size=${14} /> ${faults === 1 ? 'One mistake. Correct it to save.' : `${faults} mistakes. Correct them to save.`}</p>
      <ul class="faults">${all.filter(n => n.fault).map((n, i) => html`<li key=${i}>${n.line > 0 && html`<b>line ${n.line}</b> `}${n.text}</li>`)}</ul>`
  }
  return html`<p class="muted">${all.length ? `${plural(all.length, 'rule')}, understood.` : 'No rules: it grants nothing.'}</p>`
}

function Templates({ onChoose }) {
  const choose = e => {
    const chosen = templates.find(([name]) => name === e.target.value)
    e.target.value = ''
    if (chosen) onChoose(chosen[1])
  }
  return html`<select aria-label="Add a template" onChange=${choose}>
    <option value="">Add a template …</option>${templates.map(([name]) => html`<option key=${name}>${name}</option>`)}</select>`
}

export function RulesEditor({ value, onChange, reading, fixed }) {
  const id = useId(), lines = value.split('\n').length
  const first = reading.notes.filter((n, i, all) => i === 0 || all[i - 1].line !== n.line) // of a line: a fault, if it has one
  const beside = first.slice(0, mostNotes)
  return html`
    <div class="rules-head"><label for=${id}>Rules</label>${!fixed && html`<${Templates} onChoose=${more => onChange(append(value, more))} />`}</div>
    <div class="rules-editor">
      <pre class="numbers" aria-hidden="true">${Array.from({ length: lines }, (_, i) => i + 1).join('\n')}</pre>
      <textarea id=${id} class="mono" wrap="off" rows=${lines} readonly=${fixed} value=${value} onInput=${e => onChange(e.target.value)}
        spellcheck=${false} autocomplete="off" autocapitalize="none" aria-describedby=${id + 'v'} />
      <ul class="notes" aria-label="What the rules grant">${beside.map((n, i) => html`<${Note} key=${i} note=${n} />`)}</ul>
    </div>
    <div id=${id + 'v'} role="status"><${Verdict} reading=${reading} text=${value} />
      ${first.length > beside.length && html`<p class="muted">Only the first ${plural(mostNotes, 'line')} are explained.</p>`}</div>`
}
