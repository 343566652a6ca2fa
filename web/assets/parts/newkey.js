// The form that makes a key where none is.
import { html, useId, useRef, useState } from '../lib/dom.js'
import { ask } from '../lib/api.js'
import { isFolder, unasked, urlOf } from '../lib/kv.js'
import { go, pathOfKey } from '../lib/router.js'
import { Failure } from './notice.js'

export function NewKey({ dc, folder, done }) {
  const name = useId(), value = useId(), form = useRef(), [error, setError] = useState()
  const save = async e => {
    e.preventDefault()
    const key = folder + form.current.elements.name.value
    if (isFolder(key) || unasked(key)) {
      const message = unasked(key) || 'The name is empty or ends with a slash'
      return setError({ kind: 'invalid', message, hint: 'Give the name of a key, such as config/timeout.' })
    }
    try {
      const { data } = await ask(urlOf(key), { method: 'PUT', body: form.current.elements.value.value, params: { dc, cas: '0' } })
      if (!data) return setError({ kind: 'invalid', message: `${key} is there already`, hint: 'Open it to change it.' })
      go(pathOfKey(dc, key))
    } catch (fault) { setError(fault) }
  }
  return html`<form class="panel stack" ref=${form} onSubmit=${save}><h2>New key</h2>
    <label for=${name}>Name${folder && html`, below ${folder}`}</label>
    <input id=${name} name="name" type="text" class="mono" autocomplete="off" autocapitalize="none" spellcheck=${false} />
    <label for=${value}>Value</label><textarea id=${value} name="value" class="mono" rows="4" spellcheck=${false} />
    ${error && html`<${Failure} error=${error} />`}
    <div class="buttons"><button type="submit" class="primary">Make it</button>
      <button type="button" onClick=${done}>Close</button></div></form>`
}
