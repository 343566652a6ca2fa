// What a token may do, asked right by right: the token in use, or another one by its AccessorID.
import { html, useState } from '../lib/dom.js'
import { accesses, nameless, resources } from '../lib/access.js'
import { ask } from '../lib/api.js'
import { Failure } from './notice.js'
import { State } from './state.js'

const kept = 20 // answers that stay

export const authorize = (dc, questions, accessor) =>
  ask('internal/acl/authorize', { method: 'POST', params: { dc, accessor }, body: JSON.stringify(questions) }).then(({ data }) => data)

export const Answer = ({ yes }) => html`<${State} state=${yes ? 'good' : 'unknown'} word=${yes ? 'may' : 'may not'} />`

// May asks whether the token has a right, and keeps the answers.
export function May({ dc, accessor }) {
  const [resource, setResource] = useState('service'), [access, setAccess] = useState('read'), [name, setName] = useState('')
  const [answers, setAnswers] = useState([]), [error, setError] = useState()
  const named = !nameless.includes(resource)
  const choose = r => {
    setResource(r)
    if (!accesses(r).includes(access)) setAccess('read')
  }
  const tell = async e => {
    e.preventDefault()
    setError(undefined)
    try {
      const [a] = await authorize(dc, [{ Resource: resource, Access: access, Segment: named ? name : '' }], accessor)
      setAnswers(all => [{ ...a, n: (all[0]?.n ?? 0) + 1 }, ...all].slice(0, kept))
    } catch (fault) { setError(fault) }
  }
  const option = v => html`<option key=${v} value=${v}>${v}</option>`
  return html`<form onSubmit=${tell} class="ask" novalidate>
      <label>Right <select value=${access} onChange=${e => setAccess(e.target.value)}>${accesses(resource).map(option)}</select></label>
      <label>of <select value=${resource} onChange=${e => choose(e.target.value)}>${resources.map(option)}</select></label>
      ${named && html`<label class="grow">Name <input type="text" class="mono" value=${name} onInput=${e => setName(e.target.value)}
        spellcheck=${false} autocomplete="off" autocapitalize="none" /></label>`}
      <button type="submit" class="primary">Ask</button></form>
    ${error && html`<${Failure} error=${error} />`}
    <div role="status"><ul class="plain answers">${answers.map(a => html`<li key=${a.n}>
      <${Answer} yes=${a.Allow} /> ${a.Access} ${a.Resource} ${a.Segment && html`<code>${a.Segment}</code>`}</li>`)}</ul></div>`
}
