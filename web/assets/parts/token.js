// The dialog that takes a token.
import { html, useEffect, useRef, useState } from '../lib/dom.js'
import { ask, token, setToken, onToken } from '../lib/api.js'
import { settings } from '../lib/settings.js'

let show = () => {}

export const openToken = () => show()

export function useToken() {
  const [held, set] = useState(token())
  useEffect(() => onToken(() => set(token())), [])
  return held
}

export function TokenDialog() {
  const dialog = useRef(), field = useRef()
  const [error, setError] = useState(), [busy, setBusy] = useState(false), [name, setName] = useState('')
  const held = useToken()
  useEffect(() => { show = () => { setError(undefined); field.current.value = ''; dialog.current.showModal() } }, [])
  useEffect(() => {
    if (!held) return setName('')
    const end = new AbortController()
    ask('acl/token/self', { signal: end.signal }).then(({ data }) => setName(data.Description || data.AccessorID), () => {})
    return () => end.abort()
  }, [held])
  const save = async e => {
    e.preventDefault()
    const secret = field.current.value.trim()
    if (!secret) return setError({ message: 'The field is empty.', hint: 'Paste the SecretID of a token.' })
    const before = token()
    setBusy(true)
    sessionStorage.setItem('legate.token', secret) // tried before anybody is told
    try {
      await ask('acl/token/self')
      setToken(secret)
      field.current.value = ''
      dialog.current.close()
    } catch (fault) {
      if (before) sessionStorage.setItem('legate.token', before)
      else sessionStorage.removeItem('legate.token')
      setError(fault)
    }
    setBusy(false)
  }
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="token-title">
    <form onSubmit=${save} novalidate>
      <h2 id="token-title">Token</h2>
      ${settings.access
        ? html`<p>Access is controlled. Give the <b>SecretID</b> of a token, and this page shows what it may see. It is kept for this tab until you close it.</p>`
        : html`<p>Access is not controlled by this agent: everybody sees everything, and no token is needed.</p>`}
      ${held && html`<p>In use: <code>${name || 'a token'}</code></p>`}
      <label for="token-field">SecretID</label>
      <input id="token-field" ref=${field} type="password" autocomplete="off" spellcheck=${false} aria-describedby="token-error" />
      <p id="token-error" class="field-error" role="alert">${error && `${error.message} ${error.hint}`}</p>
      <div class="buttons">
        <button type="submit" class="primary" disabled=${busy}>Use it</button>
        ${held && html`<button type="button" onClick=${() => { setToken(''); dialog.current.close() }}>Forget it</button>`}
        <button type="button" onClick=${() => dialog.current.close()}>Close</button>
      </div>
    </form>
  </dialog>`
}
