// The fields of a policy, a token and a role.
import { html, useId, useState } from '../lib/dom.js'
import { anonymous, namesOf } from '../lib/records.js'
import { Facts } from './checks.js'
import { GrantsEditor } from './grants.js'
import { RulesEditor } from './rules.js'

// Field is a line of text with its name and what is to be said of it.
function Field({ label, value, onChange, hint, fixed, mono }) {
  const id = useId()
  return html`<div class="field"><label for=${id}>${label}</label>
    <input id=${id} type="text" class=${mono ? 'mono' : ''} value=${value} readonly=${fixed} onInput=${e => onChange(e.target.value)}
      spellcheck=${false} autocomplete="off" autocapitalize="none" aria-describedby=${hint ? id + 'h' : undefined} />
    ${hint && html`<p class="muted hint" id=${id + 'h'}>${hint}</p>`}</div>`
}

const Name = ({ draft, set, fixed }) => html`<${Field} label="Name" mono value=${draft.Name} fixed=${fixed} onChange=${name => set({ ...draft, Name: name })}
  hint=${!fixed && 'Letters, digits, - and _.'} />`
const Description = ({ draft, set, hint }) => html`<${Field} label="Description" value=${draft.Description} hint=${hint}
  onChange=${text => set({ ...draft, Description: text })} />`

export function PolicyFields({ draft, set, reading, fixed }) {
  const [where, setWhere] = useState(draft.Datacenters?.join(', ') ?? '')
  const datacenters = text => {
    setWhere(text)
    const list = namesOf(text)
    set({ ...draft, Datacenters: list.length ? list : undefined })
  }
  return html`${fixed && html`<p class="muted">It is built in: only its description can be changed.</p>`}
    <${Name} draft=${draft} set=${set} fixed=${fixed} /><${Description} draft=${draft} set=${set} />
    <${Field} label="Datacenters" value=${where} fixed=${fixed} onChange=${datacenters} hint="Where it counts. Empty: everywhere." />
    <${RulesEditor} value=${draft.Rules} fixed=${fixed} reading=${reading} onChange=${text => set({ ...draft, Rules: text })} />`
}

const lifetimes = [['', 'never'], ['1h', 'in 1 hour'], ['8h', 'in 8 hours'], ['24h', 'in 24 hours'], ['other', 'after …']]

// Once has what is chosen when a token is made, and never changed.
function Once({ dc, draft, set }) {
  const id = useId(), [ends, setEnds] = useState('')
  const choose = value => {
    setEnds(value)
    set({ ...draft, ExpirationTTL: value === 'other' ? '90m' : value || undefined })
  }
  return html`<div class="beside-fields">
      <div class="field"><label for=${id}>Where it counts</label>
        <select id=${id} value=${draft.Local ? 'here' : 'all'} onChange=${e => set({ ...draft, Local: e.target.value === 'here' })}>
          <option value="all">in all datacenters</option><option value="here">in ${dc} alone</option></select></div>
      <div class="field"><label for=${id + 'e'}>It ends</label>
        <select id=${id + 'e'} value=${ends} onChange=${e => choose(e.target.value)}>${lifetimes.map(([v, text]) => html`<option key=${v} value=${v}>${text}</option>`)}</select></div>
      ${ends === 'other' && html`<${Field} label="After" value=${draft.ExpirationTTL} onChange=${v => set({ ...draft, ExpirationTTL: v })}
        hint="1 minute to 24 hours, such as 90m." />`}</div>
    <p class="muted hint">Neither can be changed later.</p>`
}

const Made = ({ of }) => html`<${Facts} of=${[['Accessor ID', html`<code>${of.AccessorID}</code>`], ['Got by', of.AuthMethod && `auth method ${of.AuthMethod}`],
    ['Where it counts', of.Local ? 'in this datacenter' : 'everywhere'], ['Ends', of.ExpirationTime ?? 'never']]} />
  ${of.AccessorID === anonymous && html`<p class="muted">It stands for everybody who gives no token: what it grants, everybody may.</p>`}`

export const TokenFields = ({ dc, draft, set, made }) => html`${made && html`<${Made} of=${draft} />`}
  <${Description} draft=${draft} set=${set} hint="Who uses it, and what for." />${!made && html`<${Once} dc=${dc} draft=${draft} set=${set} />`}
  <${GrantsEditor} dc=${dc} record=${draft} onChange=${set} allowed=${['policy', 'role', 'service', 'node', 'template']} />`

export const RoleFields = ({ dc, draft, set }) => html`<${Name} draft=${draft} set=${set} /><${Description} draft=${draft} set=${set} />
  <${GrantsEditor} dc=${dc} record=${draft} onChange=${set} allowed=${['policy', 'service', 'node', 'template']} />`
