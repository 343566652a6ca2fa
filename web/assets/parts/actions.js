// What can be done with a token, a policy or a role from its dialog: change, clone, delete.
import { html, useEffect, useId, useState } from '../lib/dom.js'
import { ask, setToken, token } from '../lib/api.js'
import { path } from '../lib/router.js'
import { anonymous, isBuiltIn, last, listed, losersOf, management } from '../lib/records.js'
import { Failure, Loading } from './notice.js'
import { Secret } from './secret.js'
import { Icon } from './state.js'

const kinds = { policies: ['policy', 'acl/policy/'], tokens: ['token', 'acl/token/'], roles: ['role', 'acl/role/'] }
const idOf = record => record.AccessorID ?? record.ID

// consequences asks who loses what: { losers } of a policy or a role, { own, all, last } of a token.
async function consequences(dc, view, record) {
  const list = what => ask('acl/' + what, { params: { dc } }).then(({ data }) => data)
  if (view !== 'tokens') {
    const [tokens, roles, rules] = await Promise.all(['tokens', 'roles', 'binding-rules'].map(list))
    return { losers: losersOf(view, record, { tokens, roles, rules }) }
  }
  const [tokens, self] = await Promise.all(['tokens', 'token/self'].map(list))
  return {
    own: !!token() && self.AccessorID === record.AccessorID, last: last(record, tokens),
    all: (record.Policies ?? []).some(p => p.ID === management),
  }
}

function Losers({ of: { tokens, roles, rules }, one }) {
  if (tokens.length + roles.length + rules.length === 0) return html`<p>Nothing refers to it: nobody loses a right.</p>`
  return html`<p>What this ${one} grants is taken from</p>
    <ul>${tokens.length > 0 && html`<li>${listed(tokens, 'token')}</li>`}${roles.length > 0 && html`<li>${listed(roles, 'role')}</li>`}
      ${rules.length > 0 && html`<li>whoever logs in by ${listed(rules, 'binding rule')}</li>`}</ul>
    <p class="muted">Local tokens of other datacenters are not counted.</p>`
}

const lastOne = html`<p><b>It is the last token that may do everything</b>, such as the one of <code>legate acl bootstrap</code>.
  Without one, tokens are made again only by who can write to the leader's data directory.</p>`

const Ends = ({ of }) => html`
  ${of.own && html`<p><b>You are using this token.</b> You lose its rights, and this page asks for another one.</p>`}
  ${of.last ? lastOne : of.all && html`<p><b>It may do everything.</b> Other tokens may, too.</p>`}
  <p>Programs that show it have no rights from then on.</p>`

// Remove asks whether it shall be deleted, with what that does.
export function Remove({ dc, view, record, onDone, onBack }) {
  const [one, at] = kinds[view], [known, setKnown] = useState(), [error, setError] = useState(), [busy, setBusy] = useState(false)
  useEffect(() => { consequences(dc, view, record).then(setKnown, setError) }, [])
  const remove = async () => {
    setBusy(true)
    try {
      await ask(at + encodeURIComponent(idOf(record)), { method: 'DELETE', params: { dc } })
      if (known.own) setToken('')
      onDone()
    } catch (fault) {
      setError(fault)
      setBusy(false)
    }
  }
  return html`<div class="notice bad" role="alert"><${Icon} state="warning" size=${20} /><div><p class="what">Delete this ${one}?</p>
      ${known ? known.losers ? html`<${Losers} of=${known.losers} one=${one} />` : html`<${Ends} of=${known} />` : !error && html`<${Loading} what="who uses it" />`}</div></div>
    ${error && html`<${Failure} error=${error} />`}
    <div class="buttons"><button type="button" class="danger" disabled=${busy || !known} onClick=${remove}>Delete it now</button>
      <button type="button" onClick=${onBack}>Keep it</button></div>`
}

// Clone makes a token with the same rights and a secret of its own.
export function Clone({ dc, record, onBack }) {
  const id = useId(), [text, setText] = useState(`Clone of ${record.Description || record.AccessorID}`)
  const [made, setMade] = useState(), [error, setError] = useState(), [busy, setBusy] = useState(false)
  const clone = async e => {
    e.preventDefault()
    setBusy(true) // a second click would make another token, which nobody hears of
    setError(undefined)
    try {
      const body = JSON.stringify({ Description: text })
      setMade((await ask(`acl/token/${encodeURIComponent(record.AccessorID)}/clone`, { method: 'PUT', params: { dc }, body })).data)
    } catch (fault) { setError(fault) }
    setBusy(false)
  }
  if (made) {
    return html`<p role="status"><${Icon} state="good" /> <b>${made.Description}</b> is made, with the Accessor ID <code>${made.AccessorID}</code>.</p>
      <${Secret} of=${made.SecretID} name="SecretID" />`
  }
  return html`<form class="stack" onSubmit=${clone}><label for=${id}>Description of the clone</label>
    <input id=${id} type="text" value=${text} onInput=${e => setText(e.target.value)} autocomplete="off" />
    ${error && html`<${Failure} error=${error} />`}
    <div class="buttons"><button type="submit" class="primary" disabled=${busy}>Make the clone</button><button type="button" onClick=${onBack}>Back</button></div></form>`
}

// stays says why a record cannot be deleted, single why a token cannot be cloned; '' if it can.
function stays(view, record) {
  if (view === 'policies' && isBuiltIn(record.ID)) return 'It is built in: it cannot be deleted.'
  if (view === 'tokens' && record.AccessorID === anonymous) return 'It stands for everybody who gives no token: it cannot be deleted.'
  return ''
}
const single = (view, record) => view === 'tokens' && record.AuthMethod ? 'Who logged in got it: such a token cannot be cloned.' : ''

// Actions are the buttons of a dialog, for who may change access control.
export const Actions = ({ dc, view, record, onChoose }) => html`
  <a class="button" href=${path(dc, 'acls', view, idOf(record))}>Change the ${kinds[view][0]}</a>
  ${view === 'tokens' && html`<button type="button" disabled=${!!single(view, record)} onClick=${() => onChoose('clone')}>Clone …</button>`}
  <button type="button" class="danger" disabled=${!!stays(view, record)} onClick=${() => onChoose('remove')}>Delete …</button>`

// Reasons say why some of them are disabled.
export const Reasons = ({ view, record }) => [stays(view, record), single(view, record)].filter(Boolean).map(text =>
  html`<p key=${text} class="muted hint">${text}</p>`)
