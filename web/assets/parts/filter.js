// The field for ?filter expressions, with what can come next and the agent's word on mistakes.
import { html, useEffect, useId, useRef, useState } from '../lib/dom.js'
import { complete } from '../lib/complete.js'

const settle = 350 // milliseconds after the last key until the agent is asked

export function FilterField({ value, onChange, selectors, error }) {
  const id = useId(), field = useRef(), timer = useRef()
  const [text, setText] = useState(value), [list, setList] = useState({ from: 0, options: [] }), [at, setAt] = useState(-1)
  useEffect(() => { if (value !== text && document.activeElement !== field.current) setText(value) }, [value])
  useEffect(() => () => clearTimeout(timer.current), [])
  const suggest = () => { setList(complete(field.current.value, field.current.selectionStart, selectors)); setAt(-1) }
  const change = next => {
    setText(next)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => onChange(next.trim()), settle)
  }
  const take = option => {
    const cursor = field.current.selectionStart, end = list.from + option.text.length
    const next = field.current.value.slice(0, list.from) + option.text + field.current.value.slice(cursor)
    field.current.value = next
    field.current.setSelectionRange(end, end)
    field.current.focus()
    change(next)
    suggest()
  }
  const keys = e => {
    const n = list.options.length
    if (e.key === 'ArrowDown' && n) { e.preventDefault(); setAt((at + 1) % n) }
    else if (e.key === 'ArrowUp' && n) { e.preventDefault(); setAt((at + n - 1 + (at < 0)) % n) }
    else if ((e.key === 'Tab' || e.key === 'Enter') && at >= 0) { e.preventDefault(); take(list.options[at]) }
    else if (e.key === 'Enter') { clearTimeout(timer.current); onChange(text.trim()); setList({ from: 0, options: [] }) }
    else if (e.key === 'Escape') setList({ from: 0, options: [] })
  }
  const open = list.options.length > 0
  return html`<div class="filter">
    <label for=${id}>Filter expression</label>
    <div class="combo"><input id=${id} ref=${field} type="text" class="mono" value=${text} spellcheck=${false} autocomplete="off" autocapitalize="none" placeholder=${`${selectors[0].name} == "…"`}
      role="combobox" aria-expanded=${String(open)} aria-controls=${id + '-list'} aria-autocomplete="list" aria-activedescendant=${at >= 0 ? `${id}-${at}` : undefined} aria-invalid=${String(!!error)} aria-describedby=${id + '-error'}
      onInput=${e => { change(e.target.value); suggest() }} onKeyDown=${keys} onFocus=${suggest} onClick=${suggest} onBlur=${() => setList({ from: 0, options: [] })} />
      <ul id=${id + '-list'} role="listbox" aria-label="What can come next" hidden=${!open}>${list.options.map((o, i) => html`
        <li id=${`${id}-${i}`} role="option" aria-selected=${String(i === at)} onMouseDown=${e => { e.preventDefault(); take(o) }}><span class="mono">${o.text}</span><span class="muted">${o.what}</span></li>`)}</ul></div>
    <p id=${id + '-error'} class="field-error" role="alert">${error && explain(error.message)}</p>
  </div>`
}

// explain takes what the agent says of an expression apart, so that people find the place.
function explain(said) {
  const unknown = /couldn't find key: struct field with name "([^"]+)"/.exec(said)
  if (unknown) return `There is no ${unknown[1]} to select by. Empty the field to see what there is.`
  const place = /evaluator: 1:(\d+) \(\d+\): (.*)/.exec(said)
  return place ? `At character ${place[1]}: ${place[2].replace('no match found, expected', 'here can stand')}` : said
}
