// A secret that is shown when somebody asks for it, and copied without being shown.
import { html, useState } from '../lib/dom.js'
import { copied } from './copy.js'

export function Secret({ of, name }) {
  const [shown, show] = useState(false), [said, say] = useState('')
  const copy = () => copied(of).then(() => say('Copied.'), () => say('The browser does not let it be copied: show it.'))
  return html`<div class="secret">${shown ? html`<code>${of}</code>` : html`<span class="muted">hidden</span>`}
    <button type="button" class="small" onClick=${() => show(!shown)}>${shown ? `Hide the ${name}` : `Show the ${name}`}</button>
    <button type="button" class="small" onClick=${copy}>Copy the ${name}</button><span role="status" class="muted">${said}</span></div>`
}
